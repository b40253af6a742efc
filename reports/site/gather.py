"""Everything that the site shows, from one opened store; each question is asked once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from matrix.bisection import Bisection
from matrix.cells import Model, Record
from matrix.chronicle import Appearance, Moment
from matrix.results import Result
from reports import adoption, chronicles, nights, questions, searches, speeds
from reports.adoption import Days, Measured
from reports.grid import Grid, Place, grid
from reports.microscope import is_tiny
from reports.nights import Brought
from reports.questions import AboutCell, Past
from reports.site.collector import uncollected
from reports.site.views import NEWS_DAYS, NEWS_SHOWN, News, Shown, news, shown
from reports.speeds import Changed
from reports.standing import Standing, launch
from reports.store import Store
from reports.stored_speeds import measured
from reports.timeline import Step, timelines

HISTORY_DAYS = 120
"""Nights that a cell's page, and the search for changes of speed, look back."""


class Gathered(Record, frozen=True, kw_only=True):
    """What pages and files are made of."""

    made_at: dt.datetime
    """UTC."""
    standings: tuple[Standing, ...]
    grid: Grid
    squares: tuple[Shown, ...]
    """Those of the grid, in a reader's words and the same order."""
    timelines: dict[Place, tuple[Step, ...]]
    models: dict[str, Model]
    """As they were last measured."""
    nights: tuple[Brought, ...]
    """Newest first."""
    speed_changes: tuple[Changed, ...]
    left_out: dict[str, str]
    """Of the newest night: reasons by cell."""
    problems: tuple[str, ...]
    past: dict[tuple[str, str], Past]
    """By cell and probe."""
    bisections: tuple[Bisection, ...]
    """What was searched of faults."""
    about: dict[tuple[str, str], AboutCell]
    """By run and cell."""
    measured: dict[str, dict[str, tuple[Measured, ...]]]
    """By model and engine: what each release has shown."""
    made: dict[str, tuple[Moment, ...]]
    """By engine: the releases that the time machine knows of, measured or not."""
    appearances: dict[str, Appearance]
    """By architecture: when its class came to transformers."""

    @property
    def today(self) -> dt.date:
        """The day (UTC) on which the site is made."""
        return self.made_at.astimezone(dt.UTC).date()

    @property
    def news(self) -> list[News]:
        """What the first page tells of changes; of tiny checkpoints where there is no other."""
        found = news(self.timelines, self.today - dt.timedelta(days=NEWS_DAYS))
        served = [one for one in found if not is_tiny(self.models[one.place.model])]
        return (served or found)[:NEWS_SHOWN]

    @property
    def alerts(self) -> list[str]:
        """What a reader must know before believing the squares."""
        said = [f"Not readable: {problem}" for problem in grouped(self.problems)]
        newest = next((night for night in self.nights if night.planned is not None), None)
        if newest is not None and newest.planned and not newest.decided:
            said.insert(0, f"The night of {newest.day} decided nothing; the squares are older. ({newest.sentence})")
        if newest is not None and newest.missing and newest.came:
            said.insert(0, f"Did not report in the night of {newest.day}: {', '.join(newest.missing)}")
        return said

    def counted_from(self, model: str) -> str:
        """From what the days of a model to its levels count, in words; empty where nobody knows."""
        found = self.models[model]
        if found.released is not None:
            return f"its release on {found.released}"
        came = self.appearances.get(found.architecture)
        return "" if came is None else f"{came.released}, when its class came with transformers {came.version}"

    def days_to_levels(self, model: str) -> dict[str, dict[int, Days]]:
        """By engine and level."""
        found = self.models[model]
        came = self.appearances.get(found.architecture)
        since = found.released or (came.released if came is not None else None)
        return adoption.days_to_levels(since, self.measured.get(model, {}), self.today, self.made)

    def by_cell(self) -> dict[str, list[Standing]]:
        """What stands, cell by cell."""
        found: dict[str, list[Standing]] = {}
        for one in self.standings:
            found.setdefault(one.result.cell_id, []).append(one)
        return found

    def seconds(self, results: Sequence[Result]) -> float | None:
        """What the cells of some results took when they were last measured; None where nobody knows."""
        newest = {result.cell_id: result for result in sorted(results, key=lambda one: one.provenance.started_at)}
        known = [
            sum(about.seconds.values())
            for result in newest.values()
            if (about := self.about.get(launch(result))) is not None and about.seconds
        ]
        return sum(known) if known else None


@uncollected()
def gather(store: Store, *, made_at: dt.datetime) -> Gathered:
    """Ask a store everything."""
    today = made_at.astimezone(dt.UTC).date()
    since, recent = (today - dt.timedelta(days=days) for days in (HISTORY_DAYS, nights.SHOWN + 1))
    standings, searched = questions.standing(store), searches.read(store.folder)
    changes, known = questions.changes(store), chronicles.read(store.folder)
    found, steps = grid(standings), timelines(changes)
    newest = [one.later or one.result for one in standings]
    launches = {launch(one) for one in (*newest, *(one.result for one in standings))}
    return Gathered(
        made_at=made_at,
        standings=tuple(standings),
        grid=found,
        squares=tuple(shown(square, steps.get(square.place, ()), today) for square in found.squares),
        timelines=steps,
        models=_models(newest),
        nights=tuple(nights.last(store.nights, questions.came(store, recent), today)),
        speed_changes=tuple(speeds.changed(measured(store, since))),
        left_out=dict(store.nights[-1].left_out) if store.nights else {},
        problems=(*store.problems, *searched.problems, *known.problems),
        past=questions.past(store, since),
        bisections=searched.bisections,
        about=questions.about_cells(store, launches),
        measured=adoption.measured(changes),
        made={one.engine: one.moments for one in known.engines},
        appearances=known.appearances,
    )


def _models(results: Sequence[Result]) -> dict[str, Model]:
    ordered = sorted(results, key=lambda one: one.provenance.started_at)
    return {result.cell.model.id: result.cell.model for result in ordered}


def grouped(problems: Sequence[str]) -> list[str]:
    """Files that cannot be read for the same reason, in one line: a new schema makes all older ones unreadable."""
    by_reason: dict[str, list[str]] = {}
    for problem in problems:
        path, _, reason = problem.partition(": ")
        by_reason.setdefault(reason, []).append(path)
    return [
        f"{paths[0]}: {reason}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} others: {reason}"
        for reason, paths in by_reason.items()
    ]
