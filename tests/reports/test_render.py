"""The grid in a terminal."""

from __future__ import annotations

from rich.console import Console

from matrix.results import Status
from reports import render
from reports.grid import grid
from reports.standing import standing
from tests.reports.samples import cell, whole_cell


def test_the_terminal_grid_shows_status_number_and_sentence() -> None:
    """One line an engine, one sentence a probe."""
    console = Console(width=160, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render.terminal(grid(standing(whole_cell(cell(), correctness=Status.FAIL)))))
    text = capture.get()
    rows = [[word.strip() for word in line.split("│")[2:5]] for line in text.splitlines() if "│" in line]
    assert rows[:2] == [["PASS", "FAIL", "PASS"], ["12 s", "1.02 x noise", "31.5 tokens/s"]]
    assert "alpha-1.0__small__cpu__default correctness: FAIL: because <it> & so" in text


def test_a_suspected_reference_has_no_colour_of_right_or_wrong() -> None:
    """Grey, as all that is not known."""
    assert Status.REF_SUSPECT not in render.COLOURS
