"""What a release answers otherwise than the one before it. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from matrix.cells import Record
from matrix.results import Result, Status
from reports.site.views import Shown
from reports.standing import Standing


class Moved(Record, frozen=True, kw_only=True):
    """What one release answers otherwise than the one before it."""

    cell_id: str
    """Of the newer one."""
    model: str
    device: str
    probe: str
    before: str
    after: str
    mended: bool
    reason: str


class Between(Record, frozen=True, kw_only=True):
    """Two releases of one engine, one after the other in one channel."""

    before: str
    after: str
    moved: list[Moved]


class ReleaseShown(Record, frozen=True, kw_only=True):
    """A release that was measured."""

    id: str
    channel: str
    released: dt.date | None
    builds: list[str]
    colours: dict[str, int]
    """Squares of it that are shown in the grid, by colour."""


def measured(standings: Iterable[Standing], squares: Sequence[Shown], engine: str) -> list[ReleaseShown]:
    """The releases of an engine that were measured, newest first."""
    by_release: dict[str, list[Result]] = {}
    for one in standings:
        if one.result.cell.release.engine == engine:
            by_release.setdefault(one.result.cell.release.id, []).append(one.result)
    found = [
        ReleaseShown(
            id=name,
            channel=results[0].cell.release.channel,
            released=results[0].cell.release.released,
            builds=sorted({result.cell.build for result in results}),
            colours=dict(Counter(square.colour for square in squares if square.release == name)),
        )
        for name, results in by_release.items()
    ]
    first = {
        name: min(result.provenance.started_at.date() for result in results) for name, results in by_release.items()
    }
    return sorted(found, key=lambda one: (one.channel, one.released or first[one.id]), reverse=True)


def between(standings: Sequence[Standing], ordered: Sequence[ReleaseShown]) -> list[Between]:
    """What each release answers otherwise than the one before it in its channel, the newest first."""
    answers: dict[str, dict[tuple[str, str, str, str], Result]] = {}
    for one in standings:
        cell = one.result.cell
        place = (cell.model.id, cell.device.id, cell.config.id, one.result.probe)
        answers.setdefault(cell.release.id, {})[place] = one.result
    pairs = [(after, before) for after, before in pairwise(ordered) if after.channel == before.channel]
    return [
        Between(before=before.id, after=after.id, moved=_moved(answers[before.id], answers[after.id]))
        for after, before in pairs
    ]


def _moved(
    before: Mapping[tuple[str, str, str, str], Result], after: Mapping[tuple[str, str, str, str], Result]
) -> list[Moved]:
    moved = []
    for place in sorted({*before} & {*after}):
        was, now = before[place].verdict.status, after[place].verdict.status
        if was.decided and now.decided and (was is Status.PASS) != (now is Status.PASS):
            mended = now is Status.PASS
            moved.append(
                Moved(
                    cell_id=after[place].cell_id,
                    model=place[0],
                    device=place[1],
                    probe=place[3],
                    before=was.value,
                    after=now.value,
                    mended=mended,
                    reason="" if mended else after[place].verdict.reason,
                )
            )
    return sorted(moved, key=lambda one: one.mended)
