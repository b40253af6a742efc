"""A page and a file for every cell that was ever measured: all evidence of it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from matrix.cells import Record
from matrix.results import Result, Status
from reports import repeat, searches, speeds
from reports.adoption import SPEED
from reports.questions import Past
from reports.site import charts, documents, files, views
from reports.site.documents import CellFile
from reports.site.gather import Gathered
from reports.site.rendering import Files, as_json, rendered
from reports.site.views import Shown
from reports.speeds import Changed
from reports.standing import launch

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


class OfCell(Record, frozen=True, kw_only=True):
    """What its page and its file are made of."""

    results: tuple[Result, ...]
    """In the order of probes."""
    later: tuple[Result, ...]
    """Newer ones that settle nothing."""
    log_tail: str
    seconds: float | None
    """What it took when it was last measured."""

    @property
    def newest(self) -> Result:
        """The last measured."""
        return max([*self.results, *self.later], key=lambda result: result.provenance.started_at)

    @property
    def usd(self) -> float | None:
        """What that cost."""
        return files.usd(self.newest, self.seconds)


def found(shown: Gathered) -> Iterator[OfCell]:
    """Cells of older releases too: their evidence stays where links to it lead."""
    for standings in shown.by_cell().values():
        results = sorted((one.result for one in standings), key=lambda one: shown.grid.probes.index(one.probe))
        later = [one.later for one in standings if one.later is not None]
        newest = max([*results, *later], key=lambda result: result.provenance.started_at)
        about = shown.about.get(launch(newest))
        yield OfCell(
            results=tuple(results),
            later=tuple(later),
            log_tail=about.log_tail if about is not None else "",
            seconds=shown.seconds([newest]),
        )


def pages(shown: Gathered, environment: Environment) -> Files:
    """A page a cell."""
    squares = dict(_squares_by_cell(shown))
    changes: dict[speeds.Series, list[Changed]] = {}
    for change in shown.speed_changes:
        changes.setdefault(change.series, []).append(change)
    for one in found(shown):
        newest = one.newest
        square, siblings = squares.get(newest.cell_id, (None, []))
        series = speeds.series_of(newest.cell, newest.provenance.machine)
        own = [change for of in series for change in changes.get(of, [])]
        yield views.cell_page(newest.cell_id), rendered(
            environment, "cell.html.j2", root="../", here="", results=one.results, later=one.later, newest=newest,
            changes=own, log_tail=one.log_tail[-TAIL_SHOWN:], past=_past(shown, newest.cell_id, own),
            began=_began(shown, one), spent=_spent(one), square=square,
            siblings=[cell for cell in siblings if cell != newest.cell_id],
        )  # fmt: skip


def records(shown: Gathered) -> Files:
    """The same for programs."""
    for one in found(shown):
        content = CellFile(
            schema_version=documents.SCHEMA_VERSION,
            cell_id=one.newest.cell_id,
            results=one.results,
            later=one.later,
            log_tail=one.log_tail,
            began=_began(shown, one),
            repeat=repeat.commands(one.newest),
            minutes=None if one.seconds is None else one.seconds / 60.0,
            usd=one.usd,
        )
        yield f"cells/{content.cell_id}.json", as_json(content)


def _squares_by_cell(shown: Gathered) -> Iterator[tuple[str, tuple[Shown, list[str]]]]:
    """For each cell its square, and all cells of that."""
    for square, words in zip(shown.grid.squares, shown.squares, strict=True):
        cells = list(dict.fromkeys(result.cell_id for result in square.results))
        for cell_id in cells:
            yield cell_id, (words, cells)


def _began(shown: Gathered, one: OfCell) -> dict[str, str]:
    """Of the probes that fail here; what has passed since is no news."""
    failing = [result.probe for result in one.results if result.verdict.status.blames_engine]
    return dict(searches.began(shown.bisections, one.newest.cell_id, failing))


def _spent(one: OfCell) -> dict[str, str]:
    known = {
        "took": None if one.seconds is None else f"{one.seconds / 60.0:.1f} minutes",
        "cost": None if one.usd is None else f"${one.usd:.2f}",
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
    days, statuses = past.days[-views.STRIP_NIGHTS :], past.statuses[-views.STRIP_NIGHTS :]
    nights = zip(days, statuses, strict=True)
    stretches = [
        _stretch(Status(status), [day for day, _ in found]) for status, found in groupby(nights, key=itemgetter(1))
    ]
    said = f"{probe}, {len(days)} nights; the last was {days[-1]}: {statuses[-1]}"
    return Markup(charts.strip(stretches, said))


def _stretch(status: Status, days: Sequence[dt.date]) -> charts.Stretch:
    return charts.Stretch(
        first=days[0],
        last=days[-1],
        nights=len(days),
        colour=COLOURS.get(status, "grey"),
        level=HEIGHTS.get(status),
        words=status.value,
    )


def _speed(past: Past, changes: Sequence[Changed]) -> Markup | None:
    known = [(day, speed) for day, speed in zip(past.days, past.speeds, strict=True) if math.isfinite(speed)]
    if not known:
        return None
    first, shape = known[0][0], SPEED.partition("_")[0]
    marks = {(one.change.day - first).days: one.change.sentence for one in changes if one.series.shape == shape}
    days, speed = [(day - first).days for day, _ in known], [speed for _, speed in known]
    drawn = charts.history(days, speed, "output tokens/s, one request at a time", marks)
    return None if drawn is None else Markup(drawn)
