"""One release, tried: what a run of it says, and what it leaves unsaid."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from matrix.results import write_result
from probes import tables, trials
from probes.trials import Trier
from runners.releases import Past
from tests.conftest import ROOT
from tests.reports.samples import result

PAST = Past(version="0.0.1", released=dt.date(2026, 1, 1))


def test_a_run_that_did_not_get_through_says_nothing_of_its_release(tables_of_fake: Path, tmp_path: Path) -> None:
    """What an earlier run of it has left is that run's answer and not this one's."""
    matrix = tables.matrix(tables_of_fake)
    (cell,) = [one for one in matrix.cells() if one.id == "fake-0.0.1__pocket__cpu__default"]
    once = trials.by_probe("loading", PAST, lambda one, other: True, "no-such-launcher")
    trier = Trier(matrix=matrix, cell=cell, work=tmp_path / "work", once=once)
    earlier = trier.folder(PAST) / "results" / "20260101T000000Z-abcdef"
    write_result(earlier, msgspec.structs.replace(result("loading", of=cell), cell_id=cell.id))
    found = trier(PAST)
    assert (found.outcome, found.runs) == ("untestable", 1)
    assert found.why == "`readiness run` ended with status 2; its words are in 0.0.1/run.log"
    assert "unknown launcher 'no-such-launcher'" in (trier.folder(PAST) / "run.log").read_text()


@pytest.fixture
def tables_of_fake(tables: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake engine's, in this process and in those that it starts."""
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.whole_run")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tables
