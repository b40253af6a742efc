"""From results to what a reader sees: one square a model, engine release and device, over all configs. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import groupby

from matrix.cells import Record
from matrix.results import Result, Status
from reports.standing import Standing

LEVELS = ("absent", "loads", "runs", "right", "robust", "ready")
RIGHT = LEVELS.index("right")
ROBUST = LEVELS.index("robust")
READY = LEVELS.index("ready")
MAKE_ROBUST = ("state", "batch", "context")
"""The probes that ask whether it stays right when chunked and cached, batched, and past every context breakpoint."""
MAKE_RIGHT = ("correctness", "quantized")
"""Which of them is asked is the config's matter; the other is skipped."""
MAKE_READY = ("protocol", "throughput")
"""The probes that ask whether it serves as clients expect, and is not slow."""
COMPARED = "_rho_"
"""In the names of a speed's numbers: it was held against a control, or against another engine."""

FRESH_NIGHTS = 3
"""A square older than this fades."""


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
    """What the level stands on, by cell and in the order of probes: for each the newest that settled something."""
    later: tuple[Result, ...]
    """Newer ones that settled nothing."""

    @property
    def level_name(self) -> str:
        """The level's word, or `grey`."""
        return "grey" if self.level is None else LEVELS[self.level]

    @property
    def blocks(self) -> str:
        """What `blocked_by` stands before, in words; of the highest level, that nothing does."""
        if self.level == READY:
            return "nothing is left to earn"
        return "why" if self.level is None else f"before level {self.level + 1}, {LEVELS[self.level + 1]}"

    @property
    def measured_on(self) -> dt.date:
        """The day (UTC) of the oldest result that it stands on."""
        return min(result.provenance.started_at for result in self.results).astimezone(dt.UTC).date()

    @property
    def no_answer(self) -> str:
        """Why the newest run did not settle what an earlier one had; empty where it did."""
        telling = [result for result in self.later if result.verdict.status is not Status.NOTRUN] or list(self.later)
        return _why(telling) if telling else ""

    @property
    def colour(self) -> str:
        """`right`; `wrong`: the engine is to blame; `partly`: DEGRADED, or to blame beside being right; `grey`."""
        blamed = {result.verdict.status for result in self.results if result.verdict.status.blames_engine}
        if blamed:
            return "partly" if blamed == {Status.DEGRADED} or (self.level or 0) >= RIGHT else "wrong"
        return "right" if self.level is not None and self.level >= RIGHT else "grey"


class Grid(Record, frozen=True, kw_only=True):
    """All squares, and the probes that were asked, in their order."""

    squares: tuple[Square, ...]
    probes: tuple[str, ...]


def age_nights(square: Square, today: dt.date) -> int:
    """Nights between the day that a square was measured on and a day."""
    return (today - square.measured_on).days


def grid(standings: Sequence[Standing]) -> Grid:
    """Group what holds into squares; those of one square may come from several configs."""

    def place(standing: Standing) -> tuple[str, str, str]:
        cell = standing.result.cell
        return cell.device.id, cell.model.id, cell.release.id

    probes = _in_order(standings)
    ordered = sorted(standings, key=lambda one: (place(one), one.result.cell_id, probes.index(one.result.probe)))
    squares = [_square(tuple(group)) for _, group in groupby(ordered, key=place)]
    return Grid(squares=tuple(squares), probes=tuple(probes))


def _in_order(standings: Sequence[Standing]) -> list[str]:
    """Probes as they were last asked: what holds may be older for one of them than for those before it."""
    by_time = sorted(standings, key=lambda standing: (standing.later or standing.result).provenance.started_at)
    return list(dict.fromkeys(standing.result.probe for standing in by_time))


def _square(standings: tuple[Standing, ...]) -> Square:
    results = tuple(standing.result for standing in standings)
    cell = results[0].cell
    level, blocked_by = _level(results)
    return Square(
        model=cell.model.id,
        release=cell.release.id,
        device=cell.device.id,
        build=cell.build,
        level=level,
        blocked_by=blocked_by,
        results=results,
        later=tuple(standing.later for standing in standings if standing.later is not None),
    )


def _level(results: tuple[Result, ...]) -> tuple[int | None, str]:
    """The highest level that every config earned in which loading was decided, and what blocks the next one."""
    asked = [r for r in results if r.probe == "loading"]
    loading = [r for r in asked if r.verdict.status.decided]
    if not loading:
        return None, _why(asked or results)
    results = tuple(r for r in results if r.cell_id in {known.cell_id for known in loading})
    correctness = [r for r in results if r.probe in MAKE_RIGHT and r.verdict.status is not Status.SKIP]
    failing = [r for r in loading if r.verdict.status is not Status.PASS]
    if failing:
        return 0, _why(failing)
    unanswered = [r for r in correctness if not _answered(r)]
    if unanswered or not correctness:
        return 1, _why(unanswered) if unanswered else "correctness was not asked"
    wrong = [r for r in correctness if r.verdict.status is not Status.PASS]
    if wrong:
        return 2, _why(wrong)
    asked_for = {probe: [r for r in results if r.probe == probe] for probe in MAKE_ROBUST}
    shaky = [r for found in asked_for.values() for r in found if r.verdict.status is not Status.PASS]
    blamed = [r for r in results if r.verdict.status.blames_engine and not _merely_unready(r)]
    if shaky or blamed:
        return RIGHT, _why(blamed or shaky)
    unasked = [probe for probe, found in asked_for.items() if not found]
    if unasked:
        return RIGHT, f"{unasked[0]} was not asked"
    blocked_by = _before_ready(results)
    return (ROBUST, blocked_by) if blocked_by else (READY, "")


def _merely_unready(result: Result) -> bool:
    """True where it is slow or breaks the protocol; a crash is more than that."""
    return result.probe in MAKE_READY and result.verdict.status in (Status.FAIL, Status.DEGRADED)


def _before_ready(results: tuple[Result, ...]) -> str:
    """What stands between robust and ready; empty where nothing does."""
    last = [r for r in results if r.probe in MAKE_READY and not _without_speed(r)]
    unheld = [r for r in last if r.verdict.status is not Status.PASS]
    if unheld:
        return _why(unheld)
    unasked = set(MAKE_READY) - {r.probe for r in last}
    if unasked:
        return f"{min(unasked)} was not asked"
    timed = [r for r in last if r.probe == "throughput"]
    if not all(r.cell.device.speed_judged for r in timed):
        return f"speeds are not judged on {timed[0].cell.device.id}"
    if not any(COMPARED in name for r in timed for name in r.verdict.numbers):
        return "its speed could be compared with nothing: no control of its size and no other engine in the run"
    return ""


def _without_speed(result: Result) -> bool:
    """True in configs in which speed is not asked for."""
    return result.probe == "throughput" and not result.cell.config.speed_counts


def _answered(result: Result) -> bool:
    """True where the engine generated and its logprobs, if it gives any, were finite."""
    numbers = result.verdict.numbers
    nonfinite = sum(value for name, value in numbers.items() if name.endswith("nonfinite"))
    return bool(numbers) and nonfinite == 0


def _why(results: Sequence[Result]) -> str:
    worst = next((r for r in results if r.verdict.status.blames_engine), results[0])
    return f"{worst.probe} {worst.verdict.status.value}: {worst.verdict.reason}"
