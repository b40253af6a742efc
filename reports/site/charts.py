"""The pictures of the site as inline SVG. Pure: numbers in, markup out; how it looks is in `static/style.css`.

Every picture says in words what it shows, for whoever does not see it. svg.py escapes nothing, so `_words` does.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import svg

from matrix.cells import Record

WIDTH = 640
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 42
"""Pixels around the plot: numbers of the axes stand there."""

BAR, GAP = 5, 2
"""Pixels of a night in a strip, and between two."""

DOTTED = 40
"""Nights up to which each has a dot; of more the line is clearer without."""

FAINT_NATS = 1e-7
"""Below this a divergence is drawn as this: the axis is logarithmic, and float32 ends there."""


class Stretch(Record, frozen=True, kw_only=True):
    """Like nights in a row of a strip."""

    first: dt.date
    last: dt.date
    nights: int
    colour: str
    level: int | None
    words: str


class Axis(Record, frozen=True, kw_only=True):
    """From numbers to pixels, along one side."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a number; beyond the ends it is the end's."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """A handful of round numbers between the ends; powers of ten where it is logarithmic."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers[:: max(1, math.ceil(len(powers) / 6))]]
        step = _round_step((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * number for number in range(first, last + 1)]


def _round_step(span: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below a span."""
    if span <= 0 or not math.isfinite(span):
        return 1.0
    power = 10.0 ** math.floor(math.log10(span))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= span * (1 - 1e-9)), 10 * power)


def divergence(curves: Mapping[str, Sequence[float]], stratum: str) -> str | None:
    """How far an engine lies from the reference, position by position, beside the reference's own noise."""
    names = ("position", "engine_nats", "noise_low_nats", "noise_high_nats")
    found = [np.asarray(curves.get(f"{stratum}_{name}", ())) for name in names]
    if not len(found[0]) or len({len(one) for one in found}) > 1:
        return None
    position, *nats = found
    engine, low, high = (np.maximum(one, FAINT_NATS) for one in nats)
    x = Axis(low=float(position[0]), high=float(position[-1]), start=LEFT, end=WIDTH - RIGHT)
    y = Axis(
        low=float(min(engine.min(), low.min())) / 2, high=float(max(engine.max(), high.max())) * 2,
        start=220 - BOTTOM, end=TOP, logarithmic=True,
    )  # fmt: skip
    band = [(x(p), y(v)) for p, v in zip(position, high, strict=True)]
    band += reversed([(x(p), y(v)) for p, v in zip(position, low, strict=True)])
    line = [(x(p), y(v)) for p, v in zip(position, engine, strict=True)]
    outside = float(np.mean(engine > high))
    said = (
        f"{stratum}: the engine's distance from the reference by position, in nats; above the reference's own noise in "
        f"{outside:.0%} of the stretches."
    )
    parts = [*_frame(x, y, "position", "nats"), _shape(band, "band"), _line(line, "own")]
    return _picture(said, 220, parts)


def distributions(rows: Mapping[str, Sequence[float]], unit: str, said: str) -> str | None:
    """Every time as a dot, a row a load, and their median as a bar; one axis for all."""
    kept = {name: sorted(values) for name, values in rows.items() if values}
    if not kept:
        return None
    height = TOP + 30 * len(kept) + BOTTOM
    longest = max(values[-1] for values in kept.values())
    shortest = min(values[0] for values in kept.values())
    wide = shortest > 0 and longest / shortest > 30
    x = Axis(
        low=shortest * 0.8 if wide else 0.0, high=longest * 1.05 or 1.0, start=LEFT, end=WIDTH - RIGHT,
        logarithmic=wide,
    )  # fmt: skip
    parts: list[svg.Element] = _below(x, height, unit)
    for number, (name, values) in enumerate(kept.items()):
        middle = TOP + 30 * number + 15
        parts.append(_words(name, LEFT - 8, middle + 4, "end", "label"))
        parts += [svg.Circle(cx=x(value), cy=middle, r=3, class_=["dot"]) for value in values]
        median = x(float(np.median(values)))
        parts.append(svg.Line(x1=median, x2=median, y1=middle - 9, y2=middle + 9, class_=["median"]))
    medians = ", ".join(f"{name} {np.median(values):.3g} {unit}" for name, values in kept.items())
    return _picture(f"{said} Medians: {medians}.", height, parts)


def shares(rows: Mapping[str, tuple[str, float]]) -> str | None:
    """What of the device a load uses, as bars from nothing to all: by load, the name of the share and the share."""
    if not rows:
        return None
    height = TOP + 30 * len(rows) + BOTTOM
    x = Axis(low=0.0, high=max(1.0, *(share for _, share in rows.values())), start=LEFT, end=WIDTH - RIGHT)
    parts: list[svg.Element] = _below(x, height, "share of what the device can do", percent=True)
    for number, (name, (bound, share)) in enumerate(rows.items()):
        top = TOP + 30 * number + 7
        parts.append(_words(name, LEFT - 8, top + 12, "end", "label"))
        parts.append(svg.Rect(x=LEFT, y=top, width=round(x(1.0) - LEFT, 1), height=16, class_=["whole"]))
        parts.append(svg.Rect(x=LEFT, y=top, width=round(x(share) - LEFT, 1), height=16, class_=["part"]))
        parts.append(_words(f"{bound} {share:.0%}", LEFT + 6, top + 12, "start", "inside"))
    told = ", ".join(f"{name}: {bound} {share:.0%}" for name, (bound, share) in rows.items())
    return _picture(f"Share of the device's bandwidth (MBU) or operations (MFU): {told}.", height, parts)


def power(rows: Mapping[str, Mapping[str, Sequence[float]]], unit: str) -> str | None:
    """Faults by their size, row by row: those `found`, found `sometimes` and `missed`, each in its own shape."""
    sizes = [size for row in rows.values() for found in row.values() for size in found]
    if not sizes:
        return None
    x = Axis(low=min(1.0, *sizes), high=max(sizes), start=LEFT + 80, end=WIDTH - RIGHT, logarithmic=True)
    height = TOP + 30 * len(rows) + BOTTOM
    parts = _below(x, height, unit)
    for number, (name, row) in enumerate(rows.items()):
        middle = TOP + 30 * number + 15
        parts.append(_words(name, x.start - 10, middle + 4, "end", "label"))
        for kind, found in row.items():
            parts += [svg.Circle(cx=x(size), cy=middle, r=5, class_=["fault", kind]) for size in found]
    told = "; ".join(
        f"{name}: " + ", ".join(f"{len(found)} {kind}" for kind, found in row.items()) for name, row in rows.items()
    )
    return _picture(f"Faults by size. {told}.", height, parts)


def history(days: Sequence[int], values: Sequence[float], unit: str, marks: Mapping[int, str]) -> str | None:
    """One number over nights; `days` count from the first, `marks` are sentences by day on which it changed."""
    if len(values) < 2:
        return None
    x = Axis(low=float(days[0]), high=float(days[-1]), start=LEFT, end=WIDTH - RIGHT)
    y = Axis(low=0.0, high=max(values) * 1.1 or 1.0, start=180 - BOTTOM, end=TOP)
    parts = _frame(x, y, "nights since the first one shown", unit)
    for day in marks:
        parts.append(svg.Line(x1=x(day), x2=x(day), y1=TOP, y2=180 - BOTTOM, class_=["change"]))
    points = [(x(day), y(value)) for day, value in zip(days, values, strict=True)]
    parts.append(_line(points, "own"))
    if len(points) <= DOTTED:
        parts += [svg.Circle(cx=cx, cy=cy, r=2, class_=["dot"]) for cx, cy in points]
    said = f"{unit} over {len(values)} nights: from {values[0]:.3g} to {values[-1]:.3g}."
    return _picture(" ".join([said, *marks.values()]), 180, parts)


def strip(stretches: Sequence[Stretch], said: str) -> str:
    """A bar a night, as high as its level; one without a level is a dot.

    A stretch is one dashed line, which says from when to when: a site has a hundred thousand nights to draw.
    """
    height, drawn = 26, 0
    parts: list[svg.Element] = []
    for one in stretches:
        tall = 3 if one.level is None else 6 + 4 * one.level
        title = svg.Title(text=escape(f"{_span(one.first, one.last)}: {one.words}"))
        parts.append(
            svg.Line(
                x1=drawn * (BAR + GAP),
                x2=(drawn + one.nights) * (BAR + GAP) - GAP,
                y1=height - tall / 2,
                y2=height - tall / 2,
                stroke_width=tall,
                stroke_dasharray=[BAR, GAP],
                class_=["night", one.colour],
                elements=[title],
            )
        )
        drawn += one.nights
    return _picture(said, height, parts, width=max((BAR + GAP) * drawn, 1), kind="strip")


def _span(first: dt.date, last: dt.date) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _frame(x: Axis, y: Axis, below: str, beside: str) -> list[svg.Element]:
    parts: list[svg.Element] = []
    for tick in y.ticks:
        parts.append(svg.Line(x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_=["rule"]))
        parts.append(_words(_number(tick), x.start - 8, y(tick) + 4, "end", "tick"))
    parts.append(_words(beside, x.start, y.end - 2, "start", "unit"))
    return parts + _below(x, int(y.start) + BOTTOM, below)


def _below(x: Axis, height: int, unit: str, *, percent: bool = False) -> list[svg.Element]:
    floor = height - BOTTOM
    parts: list[svg.Element] = [svg.Line(x1=x.start, x2=x.end, y1=floor, y2=floor, class_=["axis"])]
    for tick in x.ticks:
        text = f"{tick:.0%}" if percent else _number(tick)
        parts.append(_words(text, x(tick), floor + 17, "middle", "tick"))
    parts.append(_words(unit, x.end, height - 4, "end", "unit"))
    return parts


def _number(value: float) -> str:
    """Short, and without an exponent where one can do without."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.6g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _words(text: str, x: float, y: float, anchor: str, name: str) -> svg.Text:
    return svg.Text(x=x, y=y, text=escape(text), class_=[name, anchor])


def _line(points: Sequence[tuple[float, float]], name: str) -> svg.Polyline:
    return svg.Polyline(points=_points(points), class_=["line", name])


def _shape(points: Sequence[tuple[float, float]], name: str) -> svg.Polygon:
    return svg.Polygon(points=_points(points), class_=[name])


def _points(points: Sequence[tuple[float, float]]) -> list[svg.Point]:
    return [svg.Point(*point) for point in points]


def _picture(said: str, height: int, parts: Sequence[svg.Element], width: int = WIDTH, kind: str = "chart") -> str:
    title = svg.Title(text=escape(said))
    return str(
        svg.SVG(
            viewBox=svg.ViewBoxSpec(0, 0, width, height),
            width=width,
            height=height,
            class_=[kind],
            extra={"role": "img"},
            elements=[title, *parts],
        )
    )
