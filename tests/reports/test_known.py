"""What earlier nights say of a cell, for the plan of the next one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell, Image
from matrix.priorities import Known
from matrix.results import Result, Status, write_result
from reports import known, store
from tests.reports.samples import cell, result, whole_cell

GPU = msgspec.structs.replace(
    cell(),
    release=msgspec.structs.replace(
        cell().release, image=Image(tag="engine/engine:v1", digest=f"sha256:{'a' * 64}", device_kinds=("cpu",))
    ),
)


def put(folder: Path, *runs: list[Result], **provenance: object) -> None:
    """Runs on one day after another, the first on the second of January."""
    for number, found in enumerate(runs):
        for minute, one in enumerate(found):
            started_at = dt.datetime(2026, 1, 2 + number, 3, minute, tzinfo=dt.UTC)
            told = {"run_id": f"run-{number}", "started_at": started_at, "seconds": 60.0, **provenance}
            changed = msgspec.structs.replace(one.provenance, **told)
            write_result(folder / f"run-{number}", msgspec.structs.replace(one, provenance=changed))


def of(folder: Path, one: Cell | None = None) -> Known | None:
    with store.opened(folder) as found:
        return known.known(found, [(one or cell()).id]).get((one or cell()).id)


def wrong() -> list[Result]:
    return whole_cell(cell(), correctness=Status.FAIL)


def failed() -> list[Result]:
    return [result("loading", Status.ERROR, reason="the disk is full")]


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([whole_cell(cell())], (2, False, False, False)),
        ([wrong()], (2, True, False, False)),
        ([wrong(), wrong()], (3, True, True, False)),
        ([wrong(), whole_cell(cell())], (3, False, False, False)),
        ([whole_cell(cell()), failed()], (2, False, False, True)),
        ([[result("loading", Status.SKIP, reason="no kernels")]], (2, False, False, False)),
    ],
    ids=["right", "red once", "red twice", "mended", "then ours", "excluded"],
)
def test_what_stands_and_since_when(
    runs: list[list[Result]], told: tuple[int, bool, bool, bool], tmp_path: Path
) -> None:
    """Day of January, red, borne out by a second run, and whether the newest run gave no answer."""
    put(tmp_path, *runs)
    found = of(tmp_path)
    assert found is not None
    assert (found.asked.day, found.red, found.confirmed, found.unanswered) == told


def test_a_cell_that_never_answered_is_not_known(tmp_path: Path) -> None:
    """It is as new as on its first night."""
    put(tmp_path, failed())
    assert of(tmp_path) is None


def test_what_it_takes_is_the_middle_and_the_most_of_its_last_runs(tmp_path: Path) -> None:
    """Three probes of a minute and a start of ten seconds in each."""
    put(tmp_path, whole_cell(cell()), whole_cell(cell()), startup_s=10.0)
    found = of(tmp_path)
    assert found is not None and (found.seconds, found.longest_s) == (190.0, 190.0)


def test_what_it_was_measured_with_is_what_tonight_is_compared_with(tmp_path: Path) -> None:
    """Of an official image its digest, else the lock; the driver where there is one; each probe's version."""
    put(tmp_path, whole_cell(GPU), image_digest="sha256:bb", requirements_sha256="cc", driver="580.1")
    found = of(tmp_path, GPU)
    versions = {one.probe: one.probe_version for one in whole_cell(GPU)}
    assert found is not None
    assert found.setting == known.setting(GPU, "sha256:bb", "580.1", versions)
    assert known.setting(cell(), "cc", None, versions)["lock"] == "cc"
    assert "driver" not in known.setting(cell(), "cc", None, versions)
    with store.opened(tmp_path) as opened:
        assert known.drivers(opened) == {"cpu": "580.1"}


def test_when_another_release_was_asked_the_same_is_known_of_a_new_one(tmp_path: Path) -> None:
    """Of the same engine, model, device and config; of another engine nothing is."""
    put(tmp_path, whole_cell(cell("alpha")))
    newer = msgspec.structs.replace(
        cell("alpha"), release=msgspec.structs.replace(cell("alpha").release, version="2.0")
    )
    with store.opened(tmp_path) as found:
        assert known.before(found, [newer, cell("beta")]) == {newer.id: dt.date(2026, 1, 2)}
