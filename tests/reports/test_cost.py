"""What a run cost."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from matrix.results import write_json, write_result
from reports import cost, markdown, runs
from reports.grid import grid
from reports.standing import standing
from tests.reports.samples import result

SPENT = cost.Cost(total_s=100.4, parts_s={"engine start": 92.0, "harness": 8.4}, harness_s=8.4, cells=4)


def test_the_sentence_has_total_parts_and_share() -> None:
    """One line for the end of a run."""
    assert cost.sentence(SPENT) == "total 100 s: engine start 92 s, harness 8 s (harness: 2.1 s a cell)"


def test_a_run_without_cells_has_no_share() -> None:
    """Nothing is divided by zero."""
    assert cost.Cost(total_s=1.0, parts_s={}, harness_s=1.0, cells=0).harness_s_per_cell == 0.0


def test_a_runs_cost_is_kept_with_it(tmp_path: Path) -> None:
    """The document of a run has it; a run that was not started by the command has none."""
    write_result(tmp_path, result())
    assert runs.read_run(tmp_path).cost is None
    write_json(tmp_path / cost.FILE, SPENT)
    run = runs.read_run(tmp_path)
    assert run.cost == SPENT
    made_at = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    text = markdown.render(grid(standing(run.results)), run, made_at=made_at)
    assert "| engine start | 92 |\n| harness | 8 |\n| total | 100 |\n\n4 cells, 2.1 s of the harness for each." in text
