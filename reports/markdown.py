"""The grid and the cost of the newest run as Markdown, for documents and job summaries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from matrix.results import Result
from reports import levels
from reports.cost import Cost
from reports.grid import Grid, Square
from reports.render import short_number
from reports.runs import Run


def render(grid: Grid, run: Run, *, made_at: dt.datetime) -> str:
    """One document: squares, sentences, where the time went."""
    head = ["engine", "build", *grid.probes, "level"]
    lines = [
        "# Measurements",
        "",
        f"Made by `readiness grid --markdown` on {made_at:%Y-%m-%d} from run `{run.run_id}`. Not written by hand.",
        "",
        f"Machine: {_machines(run.results)}.",
        "",
        row(head),
        row(["---"] * len(head)),
        *(row(_cells(square, grid.probes)) for square in grid.squares),
        "",
        "## What was found",
        "",
        *(_sentence(result) for square in grid.squares for result in square.results),
        "",
        *(_time(run.cost) if run.cost is not None else ()),
    ]
    return "\n".join(lines)


def _time(cost: Cost) -> list[str]:
    return [
        "## Where the time went",
        "",
        row(["part", "seconds"]),
        row(["---", "---:"]),
        *(row([part, f"{seconds:.0f}"]) for part, seconds in cost.parts_s.items()),
        row(["total", f"{cost.total_s:.0f}"]),
        "",
        f"{cost.cells} cells, {cost.harness_s_per_cell:.1f} s of the harness for each.",
        "",
    ]


def _cells(square: Square, probes: Sequence[str]) -> list[str]:
    by_probe = {result.probe: result for result in square.results}
    marks = [_mark(by_probe.get(probe)) for probe in probes]
    return [square.release, square.build, *marks, levels.words(square.level)]


def _mark(result: Result | None) -> str:
    return f"{result.verdict.status.value} {short_number(result)}".strip() if result is not None else "not asked"


def _sentence(result: Result) -> str:
    return f"- `{result.cell_id}` **{result.probe}** {result.verdict.status.value}: {result.verdict.reason}"


def _machines(results: Sequence[Result]) -> str:
    return "; ".join(sorted({result.provenance.machine for result in results})) or "none"


def row(words: Sequence[str]) -> str:
    """One line of a table; what stands in it cannot end its cell or its line."""
    return "| " + " | ".join(" ".join(word.replace("|", "\\|").split()) for word in words) + " |"
