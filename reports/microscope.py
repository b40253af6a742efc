"""The page of the microscope: every architecture on every engine, by tiny checkpoints in float32."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

from matrix.cells import Model, RecipeSource
from matrix.errors import ARCHITECTURE_UNKNOWN
from matrix.results import Result, Status
from reports import levels
from reports.grid import Grid, Square
from reports.markdown import row
from reports.runs import Run

KINDS = ("right", "wrong", "absent", "suspect", "skipped", "grey")
"""Of squares: `absent` means that the engine has no such class, `suspect` that the reference may be what errs."""

SHOWN = 300
"""Characters of a sentence in a list of findings; the whole of it stands in the results."""


def squares_of(grid: Grid) -> list[Square]:
    """Those of tiny checkpoints."""
    return [square for square in grid.squares if is_tiny(_model(square))]


def is_tiny(model: Model) -> bool:
    """True of a checkpoint with random weights that was made here."""
    return isinstance(model.source, RecipeSource)


def runs_of(runs: Sequence[Run]) -> list[Run]:
    """Those that asked tiny checkpoints."""
    return [run for run in runs if any(is_tiny(result.cell.model) for result in run.results)]


def render(grid: Grid, runs: Sequence[Run], *, made_at: dt.datetime) -> str:
    """One document: what was asked, the table, and a sentence for every square that is not right."""
    squares = squares_of(grid)
    releases = sorted({square.release for square in squares})
    by_model: dict[str, dict[str, Square]] = {}
    for square in squares:
        by_model.setdefault(square.place.model, {})[square.release] = square
    classes = {_model(square).architecture for square in squares}
    lines = [
        "# The microscope",
        "",
        f"Made by `readiness grid --microscope` on {made_at:%Y-%m-%d} from runs of `readiness run --profile "
        "microscope`. Not written by hand.",
        "",
        "Each row is a checkpoint with random weights in the architecture of a published model, shrunk in size only; "
        "each engine computes it in float32, and its logprobs are compared with those of the reference. A figure is "
        "the larger of prefill and decode in units of float32's own rounding. A square says whether the engine "
        "computes this architecture rightly; it says nothing of the released weights, of their dtype, or of speed.",
        "",
        f"{len(by_model)} checkpoints, {len(classes)} classes. {_time(runs_of(runs))}",
        "",
        *_totals(squares, releases),
        "",
        row(["checkpoint", "class", *releases]),
        row(["---"] * (2 + len(releases))),
        *(_line(name, found, releases) for name, found in sorted(by_model.items())),
        "",
        "A name with * is asked about text alone: the class has parts for other media, which are built and never run.",
        "",
        "## What is not right, and why",
        "",
        *(_sentence(square) for square in squares if not _right(square)),
        "",
    ]
    return "\n".join(lines)


def _time(runs: Sequence[Run]) -> str:
    machines = sorted({result.provenance.machine for run in runs for result in run.results})
    minutes = sum(run.cost.total_s for run in runs if run.cost is not None) / 60
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}, {minutes:.0f} minutes in all"
    return f"{count}; each engine had {', or '.join(machines)}."


def _model(square: Square) -> Model:
    return square.results[0].cell.model


def _right(square: Square) -> bool:
    return square.colour == "right"


def _totals(squares: Sequence[Square], releases: Sequence[str]) -> list[str]:
    lines = [row(["engine", *KINDS]), row(["---", *["---:"] * len(KINDS)])]
    for release in releases:
        kinds = Counter(kind(square) for square in squares if square.release == release)
        lines.append(row([release, *(str(kinds[one]) for one in KINDS)]))
    return lines


def kind(square: Square) -> str:
    """One of KINDS."""
    statuses = {result.verdict.status for result in square.results}
    if _right(square):
        return "right"
    if any(result.verdict.reason.startswith(ARCHITECTURE_UNKNOWN) for result in square.results):
        return "absent"
    if any(status.blames_engine for status in statuses):
        return "wrong"
    if Status.REF_SUSPECT in statuses:
        return "suspect"
    skipped = any(result.probe == "loading" and result.verdict.status is Status.SKIP for result in square.results)
    return "skipped" if skipped else "grey"


def _line(name: str, found: dict[str, Square], releases: Sequence[str]) -> str:
    model = _model(next(iter(found.values())))
    star = "\\*" if model.text_only else ""
    return row([f"{name}{star}", f"`{model.architecture}`", *(_mark(found.get(release)) for release in releases)])


def _mark(square: Square | None) -> str:
    if square is None:
        return "not asked"
    found = kind(square)
    if found != "right":
        return {"wrong": "**wrong**", "absent": "0 absent", "skipped": "skip"}.get(found, found)
    times = _times(square.results)
    return levels.words(square.level) + (f" {times:.2g} x" if times is not None else "")


def _times(results: Sequence[Result]) -> float | None:
    """The largest difference over float32's own rounding, of prefill and decode."""
    found = []
    for numbers in (result.verdict.numbers for result in results if result.probe == "correctness"):
        for stratum in ("prefill", "decode"):
            for size in ("rms", "largest"):
                own, noise = numbers.get(f"{stratum}_{size}"), numbers.get(f"{stratum}_noise_{size}")
                found += [own / noise] if own is not None and noise else []
    return max(found, default=None)


def _sentence(square: Square) -> str:
    why = square.blocked_by if len(square.blocked_by) <= SHOWN else f"{square.blocked_by[:SHOWN]} …"
    return f"- `{square.place.model}` on `{square.release}`, {kind(square)}: {why}"
