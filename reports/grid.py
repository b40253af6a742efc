"""From results to what a reader sees: one square a model, engine release and device, over all configs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matrix.cells import Record
from matrix.results import Result, Status

LEVELS = ("absent", "loads", "runs", "right", "robust", "ready")
UNMEASURED_NEXT = "no probe yet asks whether it stays right when chunked, cached, batched and at length"


class Square(Record, frozen=True, kw_only=True):
    """Readiness of one model on one engine release and device."""

    model: str
    release: str
    device: str
    build: str
    level: int | None
    """Index into LEVELS; None where nothing was decided (grey)."""
    blocked_by: str
    """What stands between it and the next level, or why it is grey."""
    results: tuple[Result, ...]

    @property
    def level_name(self) -> str:
        """The level's word, or `grey`."""
        return "grey" if self.level is None else LEVELS[self.level]


class Grid(Record, frozen=True, kw_only=True):
    """All squares, and the probes that were asked, in their order."""

    squares: tuple[Square, ...]
    probes: tuple[str, ...]


def grid(results: Sequence[Result]) -> Grid:
    """Group results into squares; results of one square may come from several configs."""

    def place(result: Result) -> tuple[str, str, str]:
        return result.cell.model.id, result.cell.device.id, result.cell.release.id

    ordered = sorted(results, key=place)
    squares = [_square(tuple(group)) for _, group in groupby(ordered, key=place)]
    probes = list(dict.fromkeys(result.probe for result in sorted(results, key=lambda r: r.provenance.started_at)))
    return Grid(squares=tuple(squares), probes=tuple(probes))


def _square(results: tuple[Result, ...]) -> Square:
    cell = results[0].cell
    level, blocked_by = _level(results)
    return Square(
        model=cell.model.id,
        release=cell.release.id,
        device=cell.device.id,
        build=cell.release.build,
        level=level,
        blocked_by=blocked_by,
        results=results,
    )


def _level(results: tuple[Result, ...]) -> tuple[int | None, str]:
    """The highest level that every config earned, and what blocks the next one."""
    loading = [r for r in results if r.probe == "loading"]
    correctness = [r for r in results if r.probe == "correctness"]
    if not any(result.verdict.status.decided for result in loading):
        return None, _why(loading or list(results))
    failing = [r for r in loading if r.verdict.status is not Status.PASS]
    if failing:
        return 0, _why(failing)
    unanswered = [r for r in correctness if not _answered(r)]
    if unanswered or not correctness:
        return 1, _why(unanswered) if unanswered else "correctness was not asked"
    wrong = [r for r in correctness if r.verdict.status is not Status.PASS]
    if wrong:
        return 2, _why(wrong)
    return 3, UNMEASURED_NEXT


def _answered(result: Result) -> bool:
    """True where the engine generated and its logprobs, if it gives any, were finite."""
    numbers = result.verdict.numbers
    nonfinite = sum(value for name, value in numbers.items() if name.endswith("nonfinite"))
    return bool(numbers) and nonfinite == 0


def _why(results: Sequence[Result]) -> str:
    worst = next((r for r in results if r.verdict.status.blames_engine), results[0])
    return f"{worst.probe} {worst.verdict.status.value}: {worst.verdict.reason}"
