"""What a person who must choose an engine wants to know of a model: which one today, and how long each took. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from matrix.cells import Record
from matrix.chronicle import Moment
from matrix.errors import ARCHITECTURE_UNKNOWN
from matrix.results import Result
from reports import levels, ready
from reports.grid import FRESH_NIGHTS, Place, Square, age_nights
from reports.levels import RIGHT
from reports.ready import State, Tried
from reports.timeline import Change

SPEED = "D1_output_tokens_per_s"
"""By which engines of one level are told apart: what one user sees."""


class Choice(Record, frozen=True, kw_only=True):
    """The engine to use today for a model on a device."""

    square: Square
    speed: float | None
    """Output tokens/s of one request at a time; None where it was not measured."""
    result: Result
    """Of the settings that users run, where they were asked: it has the command line."""


def choice(squares: Sequence[Square], today: dt.date) -> Choice | None:
    """Of the squares of one model on one device the highest level, then the fastest; None where none is right.

    A square with a fault beside its level comes after one without, and one that nobody has asked for nights after both.
    """
    right = [square for square in squares if (square.level or 0) >= RIGHT]
    if not right:
        return None
    best = max(right, key=lambda square: _rank(square, today))
    by_default = [result for result in best.results if result.cell.config.id == "default"]
    return Choice(square=best, speed=speed(best), result=(by_default or list(best.results))[-1])


def _rank(square: Square, today: dt.date) -> tuple[bool, int, bool, float]:
    fresh = age_nights(square, today) <= FRESH_NIGHTS
    return fresh, square.level or 0, square.colour == "right", speed(square) or 0.0


def speed(square: Square) -> float | None:
    """Output tokens/s of one request at a time, in the settings that users run."""
    known = [result.verdict.numbers.get(SPEED) for result in square.results if result.cell.config.speed_counts]
    return next((number for number in known if number is not None), None)


class Measured(Record, frozen=True, kw_only=True):
    """The best that a release has shown of a model, on any device."""

    release: str
    released: dt.date
    """Else the day on which it was first decided."""
    level: int | None
    tells: bool
    """Falling short is the engine's doing: of a build by somebody else only that it lacks the class."""


class Days(Record, frozen=True, kw_only=True):
    """Days until an engine's first release with a level: a number where both bounds are the same, else an interval."""

    at_least: int | None
    at_most: int | None
    release: str | None
    """The first that is known to have it."""

    @property
    def words(self) -> str:
        """The number or the interval; `before` where it was there already."""
        if self.at_least is None and self.at_most is not None and self.at_most <= 0:
            return "before"
        return ready.interval(self.at_least, self.at_most)


def measured(changes: Iterable[Change]) -> dict[str, dict[str, tuple[Measured, ...]]]:
    """By model and engine its releases, by their days, from changes in the order of measuring."""
    found: dict[tuple[str, str, str], dict[Place, dict[tuple[str, str], Change]]] = {}
    for change in changes:
        key = (change.place.model, change.place.engine, change.release)
        at = found.setdefault(key, {}).setdefault(change.place, {})
        at[change.finding.cell_id, change.finding.probe] = change
    sorted_out: dict[str, dict[str, tuple[Measured, ...]]] = {}
    for (model, engine, release), by_place in found.items():
        of_engine = sorted_out.setdefault(model, {})
        one = _measured(release, [list(one.values()) for one in by_place.values()])
        of_engine[engine] = tuple(sorted((*of_engine.get(engine, ()), one), key=lambda one: one.released))
    return sorted_out


def _measured(release: str, by_place: Sequence[Sequence[Change]]) -> Measured:
    every = [change for changes in by_place for change in changes]
    found = [levels.level([change.finding for change in changes])[0] for changes in by_place]
    lacks = any(change.finding.reason.startswith(ARCHITECTURE_UNKNOWN) for change in every)
    return Measured(
        release=release,
        released=every[0].released or min(change.day for change in every),
        level=max((level for level in found if level is not None), default=None),
        tells=lacks or any(change.build == "official" for change in every),
    )


def days_to_levels(
    since: dt.date | None,
    by_engine: Mapping[str, Sequence[Measured]],
    today: dt.date,
    made: Mapping[str, Sequence[Moment]],
) -> dict[str, dict[int, Days]]:
    """Days from a day until each engine's first release with each level that one of them has.

    Empty where that day is not known. Negative: the engine had it before. `made` are the releases of an engine that are
    known to be there, measured or not: one that was not measured makes an interval.
    """
    if since is None:
        return {}
    found = {engine: _days(since, some, today, made.get(engine, ())) for engine, some in sorted(by_engine.items())}
    return {engine: days for engine, days in found.items() if days}


def _days(since: dt.date, releases: Sequence[Measured], today: dt.date, made: Sequence[Moment]) -> dict[int, Days]:
    best = max((one.level for one in releases if one.level is not None), default=-1)
    named = {one.release for one in releases}
    unasked = [
        Tried(release=one.release, released=one.released, state="unknown") for one in made if one.release not in named
    ]
    return {level: _days_to(level, since, releases, today, unasked) for level in range(best + 1)}


def _days_to(
    level: int, since: dt.date, releases: Sequence[Measured], today: dt.date, unasked: Sequence[Tried]
) -> Days:
    tried = [Tried(release=one.release, released=one.released, state=_state(one, level)) for one in releases]
    known = ready.span([*tried, *unasked], today)
    low, high = ready.bounds(known, since)
    return Days(at_least=low, at_most=high, release=known.release)


def _state(one: Measured, level: int) -> State:
    if one.level is None:
        return "unknown"
    if one.level >= level:
        return "right"
    return "short" if one.tells else "unknown"


def decided_share(squares: Sequence[Square]) -> float | None:
    """The share of squares of which a level is known; None where there is no square."""
    return sum(square.level is not None for square in squares) / len(squares) if squares else None
