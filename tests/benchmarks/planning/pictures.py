"""The picture of the planning benchmark, as SVG."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from matrix.priorities import ROTATION
from tests.benchmarks.planning.simulation import Played
from tests.benchmarks.verdict.pictures import INK, SETTINGS

COLOURS = ("#d1495b", "#c9952b", "#2a9d8f")


def nights(played: Mapping[tuple[float, bool], Sequence[Played]], first: dt.date) -> bytes:
    """Night by night, of the first play of each: how long the longest unasked cell has waited, and what was spent."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(7.5, 5.0), layout="constrained")
        waited, spent = figure.subplots(2, 1, sharex=True)
        colours = dict(zip(sorted({budget_h for budget_h, _ in played}), COLOURS, strict=True))
        for (budget_h, by_priority), some in played.items():
            days = range(len(some[0].oldest))
            style = "-" if by_priority else ":"
            label = f"{budget_h:g} h, {'priorities' if by_priority else 'oldest first'}"
            waited.plot(days, some[0].oldest, style, color=colours[budget_h], label=label, linewidth=1.4)
            if by_priority:
                spent.plot(days, some[0].spent_h, style, color=colours[budget_h], label=label, linewidth=1.4)
                spent.axhline(budget_h, color=colours[budget_h], linewidth=0.6, linestyle="--")
        waited.axhline(ROTATION, color=INK, linewidth=0.8, linestyle="--")
        waited.text(0, ROTATION + 0.6, f"{ROTATION} nights", color=INK)
        waited.set_ylabel("nights unasked, the worst cell")
        spent.set_ylabel("accelerator-hours spent")
        for axes in (waited, spent):
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        spent.set_xlabel(f"nights from {first}")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
