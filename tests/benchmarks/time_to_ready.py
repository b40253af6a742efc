"""The picture of docs/time-to-ready.md: `python -m tests.benchmarks.time_to_ready`, by `make time-to-ready`."""

from __future__ import annotations

import argparse
import datetime as dt
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from matrix.results import write_bytes
from reports import chronicles, questions, store, time_to_ready
from reports.grid import grid
from reports.time_to_ready import PICTURE, Wait
from tests.benchmarks.verdict.pictures import INK, SETTINGS

DOCS = Path(__file__).parents[2] / "docs"

RIGHT, SHORT = "#2a9d8f", "#c9952b"

LEGEND = (
    Line2D([], [], color=INK, marker="|", linestyle="none", label="its class came in transformers"),
    Line2D([], [], color=SHORT, linewidth=1.6, label="known to fall short"),
    Line2D([], [], color=RIGHT, linewidth=1.6, label="became right in this time"),
    Line2D([], [], color=RIGHT, marker="o", markersize=3, linestyle="none", label="known to be right from here"),
    Line2D([], [], color=INK, marker="$?$", markersize=4, linestyle="none", label="not known"),
)


def picture(waits: Sequence[Wait], today: dt.date) -> bytes:
    """A panel an engine, a row a checkpoint that several releases were asked about, the newest on top."""
    asked = {one.model for one in waits if len([kind for kind in one.kinds if kind]) > 1}
    engines = list(dict.fromkeys(one.engine for one in waits))
    rows = list(dict.fromkeys(one.model for one in waits if one.model in asked))
    first = min(moment for one in waits for moment in (one.span.earliest, one.span.latest, today) if moment is not None)
    left = first - dt.timedelta(days=20)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(1.9 + 1.7 * len(engines), 1.2 + 0.18 * len(rows)), layout="constrained")
        panels = figure.subplots(1, len(engines), sharey=True, squeeze=False)[0]
        for axes, engine in zip(panels, engines, strict=True):
            for one in (one for one in waits if one.engine == engine and one.model in asked):
                _row(axes, one, rows.index(one.model), left, today)
            axes.set_title(engine, fontsize=8, color=INK)
            axes.set_xlim(left.toordinal(), today.toordinal() + 6)
            quarters = _quarters(left, today)
            axes.set_xticks([day.toordinal() for day in quarters], [f"{day:%Y-%m}" for day in quarters], rotation=45)
        panels[0].set_yticks(range(len(rows)), [name.removeprefix("tiny-") for name in rows], fontsize=7)
        panels[0].set_ylim(-0.7, len(rows) - 0.3)
        figure.legend(handles=LEGEND, loc="outside lower center", ncols=3, fontsize=7, labelcolor=INK, frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _quarters(first: dt.date, last: dt.date) -> list[dt.date]:
    days = [dt.date(year, month, 1) for year in range(first.year, last.year + 1) for month in (1, 4, 7, 10)]
    return [day for day in days if first <= day <= last]


def _row(axes: Axes, one: Wait, row: int, left: dt.date, today: dt.date) -> None:
    """From the day its class came: how long it is known to fall short, and in which time it can have become right."""
    came = max(one.came.released, left)
    if came > left:
        axes.plot([came.toordinal()] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=0.8)
    low, high = one.span.earliest, one.span.latest
    if low is None and high is None:
        axes.plot([today.toordinal()], [row], marker="$?$", color=INK, markersize=4, clip_on=False)
        return
    if low is not None:
        _line(axes, came, max(low, left), row, SHORT)
    if high is not None:
        _line(axes, came if low is None else max(low, left), high, row, RIGHT)
        axes.plot([high.toordinal()], [row], "o", color=RIGHT, markersize=3)


def _line(axes: Axes, first: dt.date, last: dt.date, row: int, colour: str) -> None:
    axes.plot([first.toordinal(), last.toordinal()], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")


def main() -> None:
    """Draw what a results folder has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=Path("results"))
    with store.opened(parser.parse_args().results) as found:
        every = grid(questions.standing(found), every_release=True)
        waits = time_to_ready.waits(every, chronicles.read(found.folder))
    write_bytes(DOCS / PICTURE, picture(waits, dt.datetime.now(dt.UTC).date()))


if __name__ == "__main__":
    main()
