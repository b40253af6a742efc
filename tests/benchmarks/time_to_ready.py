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

from matrix.results import write_bytes
from reports import chronicles, questions, store, time_to_ready
from reports.grid import grid
from reports.time_to_ready import PICTURE, Wait
from tests.benchmarks.verdict.pictures import INK, SETTINGS

DOCS = Path(__file__).parents[2] / "docs"

RIGHT, OPEN = "#2a9d8f", "#c9952b"


def picture(waits: Sequence[Wait], today: dt.date) -> bytes:
    """A panel an engine, a row an architecture, the newest on top; time runs to the right."""
    engines = list(dict.fromkeys(one.engine for one in waits))
    rows = list(dict.fromkeys(one.architecture for one in waits))
    first = min(moment for one in waits for moment in (one.span.earliest, one.span.latest, today) if moment is not None)
    left = first - dt.timedelta(days=20)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(1.6 + 1.9 * len(engines), 1.0 + 0.17 * len(rows)), layout="constrained")
        panels = figure.subplots(1, len(engines), sharey=True, squeeze=False)[0]
        for axes, engine in zip(panels, engines, strict=True):
            for one in (one for one in waits if one.engine == engine):
                _row(axes, one, rows.index(one.architecture), left, today)
            axes.set_title(engine, fontsize=8, color=INK)
            axes.set_xlim(left.toordinal(), today.toordinal())
            axes.set_xticks([day.toordinal() for day in _quarters(left, today)], _names(left, today), rotation=45)
        panels[0].set_yticks(range(len(rows)), [name.removesuffix("ForCausalLM") for name in rows], fontsize=7)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _quarters(first: dt.date, last: dt.date) -> list[dt.date]:
    days = [dt.date(year, month, 1) for year in range(first.year, last.year + 1) for month in (1, 4, 7, 10)]
    return [day for day in days if first <= day <= last]


def _names(first: dt.date, last: dt.date) -> list[str]:
    return [f"{day:%Y-%m}" for day in _quarters(first, last)]


def _row(axes: Axes, one: Wait, row: int, left: dt.date, today: dt.date) -> None:
    """A line over the time in which it can have become right, and a dot where it is known to be."""
    came = max(one.came.released, left).toordinal()
    axes.plot([came, came], [row - 0.3, row + 0.3], color=INK, linewidth=0.8)
    low, high = one.span.earliest, one.span.latest
    if low is None and high is None:
        return
    colour = RIGHT if high is not None else OPEN
    start = came if low is None else max(low, left).toordinal()
    end = (high or today).toordinal()
    axes.plot([start, end], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
    if high is not None:
        axes.plot([end], [row], "o", color=colour, markersize=3)


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
