"""When each square reached which level: from every change of what its probes have settled. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from matrix.cells import Record
from reports import levels
from reports.grid import Place
from reports.levels import Finding


class Change(Record, frozen=True, kw_only=True):
    """A result that settled other than the one before it, of the same probe and cell."""

    place: Place
    release: str
    released: dt.date | None
    day: dt.date
    """UTC: on which it was measured; of what the time machine has measured, that of the release."""
    build: str = "official"
    finding: Finding


class Step(Record, frozen=True, kw_only=True):
    """What a square has shown from a day on."""

    day: dt.date
    release: str
    level: int | None
    colour: str
    blocked_by: str


def timelines(changes: Iterable[Change]) -> dict[Place, tuple[Step, ...]]:
    """The steps of every square, oldest first, from changes in the order of their days.

    A day counts as it ended: probes of one night answer one after another. A release that is newer than the one shown
    takes its place from the day on which it was first decided, and an older one that is measured again changes nothing.
    """
    by_place: dict[Place, list[Change]] = {}
    for change in changes:
        by_place.setdefault(change.place, []).append(change)
    return {place: tuple(_steps(of_place)) for place, of_place in by_place.items()}


def _steps(changes: Sequence[Change]) -> list[Step]:
    known: dict[str, dict[tuple[str, str], Finding]] = {}
    age: dict[str, tuple[bool, dt.date]] = {}
    steps: list[Step] = []
    for day, of_day in _by_day(changes).items():
        for change in of_day:
            known.setdefault(change.release, {})[change.finding.cell_id, change.finding.probe] = change.finding
            age.setdefault(change.release, (change.released is not None, change.released or day))
        step = _step(day, known, age)
        if step is not None and (not steps or _shown(steps[-1]) != _shown(step)):
            steps.append(step)
    return steps


def _by_day(changes: Sequence[Change]) -> dict[dt.date, list[Change]]:
    days: dict[dt.date, list[Change]] = {}
    for change in changes:
        days.setdefault(change.day, []).append(change)
    return days


def _step(
    day: dt.date,
    known: Mapping[str, Mapping[tuple[str, str], Finding]],
    age: Mapping[str, tuple[bool, dt.date]],
) -> Step | None:
    decided = [release for release, found in known.items() if any(one.status.decided for one in found.values())]
    if not decided:
        return None
    release = max(decided, key=lambda one: age[one])
    findings = list(known[release].values())
    level, blocked_by = levels.level(findings)
    colour = levels.colour({one.status for one in findings}, level)
    return Step(day=day, release=release, level=level, colour=colour, blocked_by=blocked_by)


def _shown(step: Step) -> tuple[str, int | None, str]:
    return step.release, step.level, step.colour


def on(steps: Sequence[Step], day: dt.date) -> Step | None:
    """What a square showed at the end of a day; None before it was first decided."""
    return next((step for step in reversed(steps) if step.day <= day), None)
