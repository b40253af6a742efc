"""What the site's benchmark generates and prints."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import pytest

from reports import store
from tests.benchmarks.grid import generated, page
from tests.benchmarks.grid.loading import Loading
from tests.benchmarks.grid.others import Beside
from tests.benchmarks.grid.page import Measured
from tests.benchmarks.grid.taking import Took, took

LITTLE = Took(seconds=2.0, cpu_s=3.0, peak_gb=0.5)
SLOW = Took(seconds=6.0, cpu_s=9.0, peak_gb=1.5)
CELLS = generated.MODELS * generated.ENGINES * len(generated.PROBES)


def test_a_generated_history_is_a_store_like_any_other(tmp_path: Path) -> None:
    """Two months of it and a night in JSON: results whole, gaps in one of thirty, both sides of a decision."""
    generated.archive(tmp_path, nights=40)
    made = generated.night(tmp_path, 0, nights=40)
    with store.opened(tmp_path) as found:
        (counted,) = found.query("SELECT count(*) AS n, count(DISTINCT CAST(started_at AS DATE)) AS days FROM results")
        statuses = {one["status"] for one in found.query("SELECT DISTINCT status FROM results")}
        newest = generated.newest(tmp_path)
        assert found.problems == ()
    assert counted["days"] == 40
    assert counted["n"] == pytest.approx(40 * CELLS * 29 / 30, rel=0.01)
    assert statuses == {"PASS", "FAIL", "ERROR"}
    assert len(newest) == made
    assert {one.provenance.started_at.date() for one in newest} == {generated.FIRST + dt.timedelta(days=39)}


def test_what_a_process_takes_is_its_own(tmp_path: Path) -> None:
    """A process that needs 300 MB says so, whatever this one needs; one that fails is an error with its words."""
    found = took((sys.executable, "-c", "held = bytearray(300_000_000)"), tmp_path)
    assert 0.3 < found.peak_gb < 0.4
    with pytest.raises(RuntimeError, match=r"exited with 3: last words\n$"):
        took((sys.executable, "-c", "import sys; print('last words'); sys.exit(3)"))


def test_the_page_says_which_goals_are_met() -> None:
    """Each with what was wanted."""
    loading = Loading(interactive_s=(0.2, 0.3, 0.9), filter_s=(0.01, 0.02, 0.03))
    measured = Measured(
        results=1_000_000, problems=2, index=LITTLE, whole=SLOW, more=SLOW, written=10, files=20, pages=5,
        site_mb=12.0, index_kb=12.3, loading=loading, slice_results=2880,
        beside=(Beside(tool="other", took=LITTLE, site_mb=1.0),),
    )  # fmt: skip
    text = page.page(measured)
    assert [line for line in text.splitlines() if line.startswith("| ")] == [
        "| goal | at most | measured |  |",
        "| --- | --- | --- | --- |",
        "| index and all JSON | 10 s | 2.0 s | met |",
        "| its memory | 1 GB | 0.50 GB | met |",
        "| whole site | 60 s | 6.0 s | met |",
        "| one night more | 5 s | 6.0 s | **missed** |",
        "| first page, gzipped | 300 kB | 12 kB | met |",
        "| first page usable in Chromium | 1 s | 0.30 s (0.20 to 0.90); a search 0.02 s (0.01 to 0.03) | met |",
        "| tool | seconds | CPU | memory | report |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| other | 2.0 | 3.0 s | 0.50 GB | 1.0 MB |",
    ]
    assert "1,000,000 results: 60 models on 8 engines" in text
