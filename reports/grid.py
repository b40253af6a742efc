"""From results to what a reader sees: one square a model, engine, channel and device, over all configs. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from matrix.cells import Record
from matrix.priorities import ROTATION
from matrix.results import Result, Status
from reports import levels
from reports.levels import LEVELS, READY, finding
from reports.standing import SETTLING, Standing

FRESH_NIGHTS = ROTATION
"""A square older than this fades: its turn has come, and it was not asked."""


class Place(Record, frozen=True, kw_only=True):
    """Where a square stands, whatever release is the newest there."""

    device: str
    model: str
    engine: str
    channel: str

    @property
    def column(self) -> str:
        """By `column_name`."""
        return column_name(self.engine, self.channel)


class Square(Record, frozen=True, kw_only=True):
    """Readiness of one model on the newest release of an engine's channel, on one device."""

    place: Place
    release: str
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
    def version(self) -> str:
        """Of the engine."""
        return self.results[0].cell.release.version

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
        said = [finding(result) for result in self.later]
        telling = [one for one in said if one.status is not Status.NOTRUN] or said
        return levels.telling(telling) if telling else ""

    @property
    def colour(self) -> str:
        """By `levels.colour`."""
        return levels.colour({result.verdict.status for result in self.results}, self.level)


class Grid(Record, frozen=True, kw_only=True):
    """All squares, and the probes that were asked, in their order."""

    squares: tuple[Square, ...]
    probes: tuple[str, ...]


def column_name(engine: str, channel: str) -> str:
    """The engine, and the channel where it is not the stable one."""
    return engine if channel == "stable" else f"{engine} {channel}"


def age_nights(square: Square, today: dt.date) -> int:
    """Nights between the day that a square was measured on and a day."""
    return (today - square.measured_on).days


def grid(standings: Sequence[Standing], *, every_release: bool = False) -> Grid:
    """Group what holds into squares; those of one square may come from several configs, of one release.

    `every_release`: a square for each, and not for the newest alone; what one run has asked is all of it of interest.
    """

    def order(one: Standing) -> tuple[str, ...]:
        at = msgspec.structs.astuple(place(one.result))
        return (*at, one.result.cell.release.id) if every_release else at

    probes = _in_order(standings)
    ordered = sorted(standings, key=lambda one: (order(one), one.result.cell_id, probes.index(one.result.probe)))
    squares = [_square(list(group)) for _, group in groupby(ordered, key=order)]
    return Grid(squares=tuple(squares), probes=tuple(probes))


def place(result: Result) -> Place:
    """The square that a result belongs to, once its release is the newest."""
    cell = result.cell
    return Place(device=cell.device.id, model=cell.model.id, engine=cell.release.engine, channel=cell.release.channel)


def newest(results: Iterable[Result]) -> str:
    """The release that is shown of several: the last one released, else the last one measured."""

    def age(result: Result) -> tuple[bool, dt.date, dt.datetime]:
        released, measured = result.cell.release.released, result.provenance.started_at
        return released is not None, released or measured.date(), measured

    return max(results, key=age).cell.release.id


def _in_order(standings: Sequence[Standing]) -> list[str]:
    """Probes as they were last asked: what holds may be older for one of them than for those before it."""
    by_time = sorted(standings, key=lambda standing: (standing.later or standing.result).provenance.started_at)
    return list(dict.fromkeys(standing.result.probe for standing in by_time))


def _square(standings: Sequence[Standing]) -> Square:
    """The newest release of which something is settled; what was in vain asked of a newer one is named beside it."""
    settled = [one.result for one in standings if one.result.verdict.status in SETTLING]
    release = newest(settled or [one.result for one in standings])
    shown = [one for one in standings if one.result.cell.release.id == release]
    newer = [one for one in standings if newest([shown[0].result, one.result]) != release]
    results = tuple(one.result for one in shown)
    level, blocked_by = levels.level([finding(result) for result in results])
    return Square(
        place=place(results[0]),
        release=release,
        build=results[0].cell.build,
        level=level,
        blocked_by=blocked_by,
        results=results,
        later=(*(one.later for one in shown if one.later is not None), *(one.result for one in newer)),
    )
