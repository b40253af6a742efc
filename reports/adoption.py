"""What a person who must choose an engine wants to know of a model: which one today, and how long each took. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from matrix.cells import Record
from matrix.results import Result
from reports.grid import FRESH_NIGHTS, Place, Square, age_nights
from reports.levels import RIGHT
from reports.timeline import Step, first_reached

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


def days_to_levels(
    released: dt.date | None, timelines: Mapping[Place, Sequence[Step]], model: str
) -> dict[str, dict[int, int]]:
    """Days from a model's release until each engine first reached each level, on any device and channel.

    Empty where the day of release is not known. A level that was reached before the release took no days: a lab may
    test its checkpoint with an engine in private.
    """
    if released is None:
        return {}
    by_engine: dict[str, list[Step]] = {}
    for place, steps in timelines.items():
        if place.model == model:
            by_engine.setdefault(place.engine, []).extend(steps)
    return {engine: _days(released, steps) for engine, steps in sorted(by_engine.items())}


def _days(released: dt.date, steps: Iterable[Step]) -> dict[int, int]:
    return {level: max((day - released).days, 0) for level, day in first_reached(steps).items()}


def decided_share(squares: Sequence[Square]) -> float | None:
    """The share of squares of which a level is known; None where there is no square."""
    return sum(square.level is not None for square in squares) / len(squares) if squares else None
