"""A page and a file for every cell that was ever measured: all evidence of it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from matrix.results import Result, Status
from reports import repeat, speeds
from reports.adoption import SPEED
from reports.questions import Past
from reports.site import charts, documents, files, views
from reports.site.documents import CellFile
from reports.site.gather import Gathered
from reports.site.rendering import Files, as_json, rendered
from reports.site.views import Shown
from reports.speeds import Changed
from reports.standing import Standing

TAIL_SHOWN = 20_000
"""Characters of a log's end on a page."""

COLOURS = {
    Status.PASS: "right",
    Status.DEGRADED: "partly",
    Status.FAIL: "wrong",
    Status.CRASH: "wrong",
    Status.TIMEOUT: "wrong",
}
"""Of a night in a strip; what is not here is grey."""
HEIGHTS = {status: 5 if status is Status.PASS else 2 for status in COLOURS}
"""As if they were levels, so that a strip can be read without its colours."""


def every_cell(shown: Gathered, environment: Environment) -> Files:
    """Cells of older releases too: their evidence stays where links to it lead."""
    squares = dict(_squares_by_cell(shown))
    changes: dict[speeds.Series, list[Changed]] = {}
    for change in shown.speed_changes:
        changes.setdefault(change.series, []).append(change)
    for cell_id, standings in shown.by_cell().items():
        results = sorted((one.result for one in standings), key=lambda one: shown.grid.probes.index(one.probe))
        square, siblings = squares.get(cell_id, (None, []))
        context = {"square": square, "siblings": [one for one in siblings if one != cell_id]}
        yield from _cell(shown, environment, results, _later(standings), changes, context)


def _squares_by_cell(shown: Gathered) -> Iterator[tuple[str, tuple[Shown, list[str]]]]:
    """For each cell its square, and all cells of that."""
    for square, words in zip(shown.grid.squares, shown.squares, strict=True):
        cells = list(dict.fromkeys(result.cell_id for result in square.results))
        for cell_id in cells:
            yield cell_id, (words, cells)


def _later(standings: Sequence[Standing]) -> list[Result]:
    return [one.later for one in standings if one.later is not None]


def _cell(
    shown: Gathered,
    environment: Environment,
    results: Sequence[Result],
    later: Sequence[Result],
    changes: Mapping[speeds.Series, list[Changed]],
    context: Mapping[str, Any],
) -> Files:
    newest = max([*results, *later], key=lambda result: result.provenance.started_at)
    about = shown.about.get((newest.provenance.run_id, newest.cell_id))
    tail = about.log_tail if about is not None else ""
    own = [
        change
        for series in speeds.series_of(newest.cell, newest.provenance.machine)
        for change in changes.get(series, [])
    ]
    seconds = shown.seconds([newest])
    usd = files.usd(newest, seconds)
    page = rendered(
        environment, "cell.html.j2", root="../", here="", results=results, later=later, newest=newest, changes=own,
        log_tail=tail[-TAIL_SHOWN:], past=_past(shown, newest.cell_id, own), spent=_spent(seconds, usd), **context,
    )  # fmt: skip
    yield views.cell_page(newest.cell_id), page
    content = CellFile(
        schema_version=documents.SCHEMA_VERSION,
        cell_id=newest.cell_id,
        results=tuple(results),
        later=tuple(later),
        log_tail=tail,
        repeat=repeat.commands(newest),
        minutes=None if seconds is None else seconds / 60.0,
        usd=usd,
    )
    yield f"cells/{newest.cell_id}.json", as_json(content)


def _spent(seconds: float | None, usd: float | None) -> dict[str, str]:
    known = {
        "took": None if seconds is None else f"{seconds / 60.0:.1f} minutes",
        "cost": None if usd is None else f"${usd:.2f}",
    }
    return {name: value for name, value in known.items() if value is not None}


def _past(shown: Gathered, cell_id: str, changes: Sequence[Changed]) -> dict[str, Any]:
    """Strips of statuses by probe, and the speed over nights; of one night alone there is nothing to show."""
    pasts = {probe: shown.past.get((cell_id, probe)) for probe in shown.grid.probes}
    known = {probe: past for probe, past in pasts.items() if past is not None and len(past.days) > 1}
    timed = known.get(speeds.PROBE)
    return {
        "nights": views.STRIP_NIGHTS,
        "strips": {probe: _strip(probe, past) for probe, past in known.items()},
        "speed": None if timed is None else _speed(timed, changes),
    }


def _strip(probe: str, past: Past) -> Markup:
    nights = list(zip(past.days, past.statuses, strict=True))[-views.STRIP_NIGHTS :]
    marks = [_mark(day, Status(status)) for day, status in nights]
    said = f"{probe}, {len(marks)} nights; the last was {marks[-1].day}: {marks[-1].words}"
    return Markup(charts.strip(marks, said))


def _mark(day: dt.date, status: Status) -> charts.Mark:
    colour = COLOURS.get(status, "grey")
    return charts.Mark(day=day, colour=colour, level=HEIGHTS.get(status), words=status.value)


def _speed(past: Past, changes: Sequence[Changed]) -> Markup | None:
    known = [(day, speed) for day, speed in zip(past.days, past.speeds, strict=True) if math.isfinite(speed)]
    if not known:
        return None
    first, shape = known[0][0], SPEED.partition("_")[0]
    marks = {(one.change.day - first).days: one.change.sentence for one in changes if one.series.shape == shape}
    days, speed = [(day - first).days for day, _ in known], [speed for _, speed in known]
    drawn = charts.history(days, speed, "output tokens/s, one request at a time", marks)
    return None if drawn is None else Markup(drawn)
