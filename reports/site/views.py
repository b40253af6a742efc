"""What the templates show, from records: squares in words, sections of the grid, an engine's releases. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal

from matrix.cells import Model, Record
from reports import adoption, levels
from reports.grid import FRESH_NIGHTS, Place, Square, age_nights, column_name
from reports.microscope import is_tiny
from reports.site.charts import Stretch
from reports.timeline import Step, on

Trend = Literal["up", "down", ""]
TREND_DAYS = 30
"""A change that is older is no trend."""

NEWS_DAYS = 7
NEWS_SHOWN = 12
"""Changes on the first page: of so many days, and so many at most."""

STRIP_NIGHTS = 60
"""Nights that a strip of levels looks back."""


class Shown(Record, frozen=True, kw_only=True):
    """A square in a reader's words."""

    model: str
    engine: str
    channel: str
    device: str
    release: str
    version: str
    build: str
    level: int | None
    level_name: str
    colour: str
    """`right`, `partly`, `wrong` or `grey`."""
    known: bool
    """Every fault of it is one that a rule expects."""
    blocked_by: str
    blocks: str
    no_answer: str
    speed: float | None
    """Output tokens/s of one request at a time."""
    measured_on: dt.date
    age_nights: int
    stale: bool
    since: dt.date | None
    """The first day of what it shows now."""
    trend: Trend
    """Whether the last change, if it is recent, was to a higher level or a lower one."""
    was: str
    """What it showed before that; empty without a trend."""
    page: str
    """Of its cell in the settings that users run, else of its first."""

    @property
    def since_words(self) -> str:
        """How old or how lasting it is."""
        if self.age_nights:
            return f"{self.age_nights} night{'s' if self.age_nights != 1 else ''} old"
        return f"since {self.since}" if self.since else f"on {self.measured_on}"


class News(Record, frozen=True, kw_only=True):
    """A square that shows something else than the day before."""

    place: Place
    day: dt.date
    before: Step | None
    after: Step

    @property
    def colour(self) -> str:
        """Of what it shows now."""
        return self.after.colour

    @property
    def sentence(self) -> str:
        """In words."""
        was = "first asked" if self.before is None else f"was {levels.words(self.before.level)}"
        if self.before is not None and self.before.release != self.after.release:
            was += f" with {self.before.release}"
        where = f"{self.place.model} on {self.after.release} ({self.place.device})"
        return f"{where}: {levels.words(self.after.level)}, {was}"

    @property
    def why(self) -> str:
        """What is wrong with it now; empty where nothing is."""
        return self.after.blocked_by if self.after.colour in ("wrong", "partly") else ""


class Column(Record, frozen=True, kw_only=True):
    """Of the grid."""

    name: str
    engine: str
    channel: str


class Row(Record, frozen=True, kw_only=True):
    """One model on one device."""

    model: Model
    squares: dict[str, Shown]
    """By column."""

    @property
    def level(self) -> int:
        """The highest of its squares; -1 where none is known."""
        return max((-1 if square.level is None else square.level for square in self.squares.values()), default=-1)

    @property
    def text(self) -> str:
        """What a search looks in."""
        words = (self.model.id, self.model.organisation, self.model.architecture, *self.model.kinds)
        return " ".join(word for word in words if word).lower()


class Section(Record, frozen=True, kw_only=True):
    """All of one device."""

    id: str
    columns: list[Column]
    rows: list[Row]
    """The newest model first."""


def cell_page(cell_id: str) -> str:
    """Relative to the site."""
    return f"cells/{cell_id}.html"


def shown(square: Square, steps: Sequence[Step], today: dt.date) -> Shown:
    """A square in a reader's words."""
    blamed = [result.verdict for result in square.results if result.verdict.status.blames_engine]
    by_default = [result.cell_id for result in square.results if result.cell.config.id == "default"]
    age = age_nights(square, today)
    trend, was = _trend(steps, today)
    return Shown(
        model=square.place.model,
        engine=square.place.engine,
        channel=square.place.channel,
        device=square.place.device,
        release=square.release,
        version=square.version,
        build=square.build,
        level=square.level,
        level_name=square.level_name,
        colour=square.colour,
        known=bool(blamed) and not any(verdict.unexpected for verdict in blamed),
        blocked_by=square.blocked_by,
        blocks=square.blocks,
        no_answer=square.no_answer,
        speed=adoption.speed(square),
        measured_on=square.measured_on,
        age_nights=age,
        stale=age > FRESH_NIGHTS,
        since=steps[-1].day if steps else None,
        trend=trend,
        was=was,
        page=cell_page((by_default or [square.results[0].cell_id])[0]),
    )


def _trend(steps: Sequence[Step], today: dt.date) -> tuple[Trend, str]:
    if len(steps) < 2 or (today - steps[-1].day).days > TREND_DAYS:
        return "", ""
    before, after = steps[-2], steps[-1]
    if before.level is None or after.level is None or before.level == after.level:
        return "", ""
    return ("up" if after.level > before.level else "down"), levels.words(before.level)


def sections(squares: Sequence[Shown], models: Mapping[str, Model]) -> list[Section]:
    """The grid device by device; tiny checkpoints, which nobody serves, come last."""
    ordered = sorted(squares, key=lambda square: (square.device, square.model))
    found = [_section(device, list(group), models) for device, group in groupby(ordered, key=lambda one: one.device)]
    return sorted(found, key=lambda one: (all(is_tiny(row.model) for row in one.rows), one.id))


def _section(device: str, squares: Sequence[Shown], models: Mapping[str, Model]) -> Section:
    columns = sorted({(square.engine, square.channel) for square in squares})
    rows = [
        Row(model=models[model], squares={column_name(one.engine, one.channel): one for one in group})
        for model, group in groupby(squares, key=lambda square: square.model)
    ]
    return Section(
        id=device,
        columns=[Column(name=column_name(*one), engine=one[0], channel=one[1]) for one in columns],
        rows=sorted(rows, key=lambda row: row.model.released or dt.date.min, reverse=True),
    )


def news(timelines: Mapping[Place, Sequence[Step]], since: dt.date) -> list[News]:
    """Every step from a day on, the newest first."""
    found = [
        News(place=place, day=after.day, before=before, after=after)
        for place, steps in timelines.items()
        for before, after in pairwise((None, *steps))
        if after is not None and after.day >= since
    ]
    return sorted(found, key=lambda one: (one.day, one.after.colour == "wrong"), reverse=True)


def nights_of(steps: Sequence[Step], today: dt.date, count: int = STRIP_NIGHTS) -> list[Stretch]:
    """The last nights for a strip, aligned for all squares, the newest last."""
    first = today - dt.timedelta(days=count - 1)
    edges = sorted({first, *(step.day for step in steps if first < step.day <= today)})
    ends = [*(edge - dt.timedelta(days=1) for edge in edges[1:]), today]
    return [_stretch(on(steps, edge), edge, end) for edge, end in zip(edges, ends, strict=True)]


def _stretch(step: Step | None, first: dt.date, last: dt.date) -> Stretch:
    return Stretch(
        first=first,
        last=last,
        nights=(last - first).days + 1,
        colour="grey" if step is None else step.colour,
        level=None if step is None else step.level,
        words="not known" if step is None else levels.words(step.level),
    )


def facts(model: Model) -> dict[str, str]:
    """What decides whether somebody takes a model, by name; what is not known is left out."""
    total, active = parameters(model.parameters_total), parameters(model.parameters_active)
    known = {
        "organisation": model.organisation,
        "country": model.country,
        "licence": model.licence,
        "released": str(model.released) if model.released else None,
        "parameters": total and (f"{total}, {active} active" if active and active != total else total),
        "architecture": ", ".join((model.architecture, *model.kinds)),
        "context length": f"{model.context_length:,} tokens",
        "dtype": model.dtype,
    }
    return {name: value for name, value in known.items() if value}


def in_short(model: Model) -> str:
    """The same in a line below its name."""
    total, active = parameters(model.parameters_total), parameters(model.parameters_active)
    size = f"{total} ({active} active)" if total and active and active != total else total
    words = (model.organisation, size, model.licence, str(model.released) if model.released else None)
    return " · ".join(word for word in words if word)


def parameters(count: int | None) -> str | None:
    """As people write it: 135M, 4.3B."""
    if count is None:
        return None
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
