"""What lies beside results: answers of bisections, and executions of repros."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from msgspec.structs import replace

from matrix.bisection import Bisection, Outcome, Trial
from matrix.results import Status, write_json, write_result
from reports import searches, store
from reports.site import build
from reports.site.gather import gather
from tests.reports.samples import result

CELL = "alpha-1.0__small__cpu__default"


def searched(cell_id: str = CELL, *tried: tuple[str, Outcome]) -> Bisection:
    trials = [Trial(version=version, released=None, outcome=outcome, why="seen") for version, outcome in tried]
    return Bisection(
        name=f"{cell_id}__correctness", engine="alpha", cell_id=cell_id, probe="correctness", distribution="alpha",
        build="official", build_note="", versions=("0.8", "0.9", "1.0"), trials=tuple(trials), harness_version="0",
    )  # fmt: skip


SHORT = searched(CELL, ("1.0", "bad"))
LONG = searched(CELL.replace("1.0", "1.1"), ("1.0", "bad"), ("0.8", "good"), ("0.9", "good"))
BEGAN = "1.0 is the first that shows it, 0.9 the last without"


def test_the_search_that_tried_most_answers_for_a_place_whatever_the_release() -> None:
    """Of another cell, or of another probe, it says nothing."""
    known = [SHORT, LONG, searched(CELL), searched(CELL.replace("small", "other"), ("1.0", "bad"))]
    assert searches.of_failure(known, [CELL], "correctness") is LONG
    assert searches.of_failure(known, [CELL], "loading") is None
    assert searches.began(known, CELL, ["loading", "correctness"]) == {"correctness": BEGAN}


def test_a_cells_page_tells_in_which_release_its_failure_began(tmp_path: Path) -> None:
    """Only where it fails; a file that nobody can read is told on the first page."""
    results = tmp_path / "results"
    for status, cell in ((Status.FAIL, "default"), (Status.PASS, "parity")):
        one = result("correctness", status)
        config = replace(one.cell.config, id=cell)
        of = replace(one.cell, config=config)
        write_result(results / "run", replace(one, cell=of, cell_id=of.id))
        write_json(results / "bisections" / f"{cell}.json", replace(LONG, cell_id=of.id))
    (results / "bisections" / "broken.json").write_text("{}")
    with store.opened(results) as found:
        shown = gather(found, made_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
        build.write(shown, found, tmp_path / "site")
    assert [problem.split(": ")[1] for problem in shown.problems] == ["not a readable Bisection"]
    cells = tmp_path / "site" / "cells"
    assert BEGAN in (cells / f"{CELL}.html").read_text()
    assert BEGAN not in (cells / f"{CELL.replace('default', 'parity')}.html").read_text()
    assert f'"correctness": "{BEGAN}"' in (cells / f"{CELL}.json").read_text()
