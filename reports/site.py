"""The static site: the grid, a page for every cell, what a PASS means, and `grid.json`; of result files alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment

from matrix.cells import Record
from matrix.results import Result, Status, write_bytes, write_json
from reports import mutation, nights, speeds, templating
from reports.grid import FRESH_NIGHTS, Grid, Square, age_nights, grid
from reports.levels import LEVELS
from reports.nights import Brought
from reports.speeds import Changed
from reports.store import Store

SCHEMA_VERSION = 2
"""Of grid.json."""


class Published(Record, frozen=True, kw_only=True):
    """What grid.json says of a square."""

    model: str
    engine: str
    channel: str
    release: str
    device: str
    build: str
    level: int | None
    level_name: str
    colour: str
    blocked_by: str
    measured_on: dt.date
    age_nights: int
    stale: bool
    statuses: dict[str, dict[str, Status]]
    """By cell and probe."""
    pages: dict[str, str]
    """By cell, relative to the site."""


class Page(Record, frozen=True, kw_only=True):
    """All that the first page shows."""

    made_at: dt.datetime
    """UTC."""
    grid: Grid
    nights: tuple[Brought, ...]
    """Newest first."""
    changes: tuple[Changed, ...]
    """Of speeds, newest first."""
    left_out: dict[str, str]
    """Of the newest night: reasons by cell."""
    problems: tuple[str, ...]

    @property
    def alerts(self) -> list[str]:
        """What a reader must know before believing the squares."""
        said = [f"Not readable: {problem}" for problem in gathered(self.problems)]
        newest = next((night for night in self.nights if night.planned is not None), None)
        if newest is not None and not newest.decided:
            said.insert(0, f"The night of {newest.day} decided nothing; the squares are older. ({newest.sentence})")
        if newest is not None and newest.missing and newest.came:
            said.insert(0, f"Did not report in the night of {newest.day}: {', '.join(newest.missing)}")
        return said


def gathered(problems: Sequence[str]) -> list[str]:
    """Files that cannot be read for the same reason, in one line: a new schema makes all older ones unreadable."""
    by_reason: dict[str, list[str]] = {}
    for problem in problems:
        path, _, reason = problem.partition(": ")
        by_reason.setdefault(reason, []).append(path)
    return [
        f"{paths[0]}: {reason}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} others: {reason}"
        for reason, paths in by_reason.items()
    ]


def page(store: Store, *, made_at: dt.datetime) -> Page:
    """The first page of a folder of results."""
    since = made_at.astimezone(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=nights.SHOWN + 1)
    recent = store.results("started_at >= ?", [since])
    return Page(
        made_at=made_at,
        grid=grid(store.standing()),
        nights=tuple(nights.last(store.nights, recent, made_at.astimezone(dt.UTC).date())),
        changes=tuple(speeds.changed(store.results("probe = ?", [speeds.PROBE]))),
        left_out=store.nights[-1].left_out if store.nights else {},
        problems=store.problems,
    )


def write(store: Store, folder: Path, *, made_at: dt.datetime) -> Path:
    """Write the site into a folder; returns its first page."""
    shown = page(store, made_at=made_at)
    environment = _environment(made_at.astimezone(dt.UTC).date())
    index = environment.get_template("index.html.j2").render(page=shown, devices=_devices(shown.grid))
    write_bytes(folder / "index.html", index.encode())
    meaning = environment.get_template("pass.html.j2").render(score=mutation.measured())
    write_bytes(folder / "pass.html", meaning.encode())
    for square in shown.grid.squares:
        for results in _by_cell(square.results):
            later = [result for result in square.later if result.cell_id == results[0].cell_id]
            text = _cell_page(environment, store, shown.changes, square, results, later)
            write_bytes(folder / cell_page(results[0].cell_id), text.encode())
    write_json(folder / "grid.json", published(shown))
    return folder / "index.html"


def cell_page(cell_id: str) -> str:
    """A cell's page, relative to the site."""
    return f"cells/{cell_id}.html"


def published(shown: Page) -> dict[str, object]:
    """The content of grid.json."""
    today = shown.made_at.astimezone(dt.UTC).date()
    squares = [_published(square, today) for square in shown.grid.squares]
    return {
        "schema_version": SCHEMA_VERSION,
        "made_at": shown.made_at,
        "levels": LEVELS,
        "alerts": shown.alerts,
        "nights": shown.nights,
        "speed_changes": shown.changes,
        "left_out": shown.left_out,
        "squares": squares,
        "mutation_score": mutation.measured(),
    }


def _published(square: Square, today: dt.date) -> Published:
    age = age_nights(square, today)
    statuses = {
        results[0].cell_id: {result.probe: result.verdict.status for result in results}
        for results in _by_cell(square.results)
    }
    return Published(
        model=square.place.model, engine=square.place.engine, channel=square.place.channel, release=square.release,
        device=square.place.device, build=square.build, level=square.level,
        level_name=square.level_name, colour=square.colour, blocked_by=square.blocked_by,
        measured_on=square.measured_on, age_nights=age, stale=age > FRESH_NIGHTS, statuses=statuses,
        pages={cell_id: cell_page(cell_id) for cell_id in statuses},
    )  # fmt: skip


def _environment(today: dt.date) -> Environment:
    made = templating.environment(autoescape=True)
    made.filters |= {"age": lambda square: age_nights(square, today), "by_cell": _by_cell, "page": cell_page}
    made.globals |= {"FRESH_NIGHTS": FRESH_NIGHTS}
    return made


def _devices(shown: Grid) -> list[tuple[str, list[str], list[tuple[str, dict[str, Square]]]]]:
    """Per device: its name, its columns, and per model the squares by column."""
    found = []
    for device, group in groupby(shown.squares, key=lambda square: square.place.device):
        squares = list(group)
        columns = sorted({square.place.column for square in squares})
        rows = [
            (model, {square.place.column: square for square in row})
            for model, row in groupby(squares, key=lambda square: square.place.model)
        ]
        found.append((device, columns, rows))
    return found


def _by_cell(results: Sequence[Result]) -> list[list[Result]]:
    """A square's results, cell by cell."""
    return [list(group) for _, group in groupby(results, key=lambda result: result.cell_id)]


def _cell_page(
    environment: Environment,
    store: Store,
    changes: Sequence[Changed],
    square: Square,
    results: Sequence[Result],
    later: Sequence[Result],
) -> str:
    newest = max([*results, *later], key=lambda result: result.provenance.started_at)
    own = speeds.series_of(newest)
    return environment.get_template("cell.html.j2").render(
        square=square,
        results=results,
        later=later,
        newest=newest,
        changes=[one for one in changes if one.series in own],
        log_tail=store.log_tail(newest),
    )
