"""The grid in a terminal."""

from __future__ import annotations

import msgspec
from rich.console import Console, RenderableType

from matrix.results import Status
from reports import render
from reports.grid import grid
from reports.standing import standing
from tests.reports.samples import cell, result, whole_cell


def printed(shown: RenderableType) -> list[str]:
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


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


def test_evidence_has_numbers_words_command_and_every_version_that_is_known() -> None:
    """The command as a shell takes it; what is not known is not said."""
    one = result("correctness", Status.FAIL, reason="off", numbers={"prefill_ratio": 9.0})
    provenance = msgspec.structs.replace(one.provenance, command=("serve", "a b"), driver="580.1")
    lines = printed(render.evidence(msgspec.structs.replace(one, provenance=provenance)))
    assert lines[:3] == [f"{one.cell_id} correctness", "FAIL: off", "  prefill_ratio = 9"]
    for wanted in ("command: serve 'a b'", "engine says: 1.0", "driver: 580.1", "measured: 2026-01-02 03:00 UTC"):
        assert wanted in lines
    assert not [line for line in lines if "None" in line or line.startswith("image")]


def test_a_listing_has_a_line_a_result_with_its_number() -> None:
    """However many lines its sentence has."""
    one = result("loading", reason="it came\n  up")
    line = "2026-01-02 03:00 alpha-1.0__small__cpu__default loading PASS 12 s: it came up"
    assert printed(render.listing([one, one])) == [line, line, ""]
