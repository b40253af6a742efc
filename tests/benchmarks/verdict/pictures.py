"""Pictures of the page, as SVG: the same bytes for the same numbers, and readable on white and on black.

Text stays text in one grey that shows on both; each colour stands beside its word, and grows darker as it gets worse.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from probes.noise_floor import Decision
from tests.benchmarks.verdict.power import DECISIONS, OURS, OURS_BY_LEVEL, Curve, FaultPower, ModelPower, Point

INK = "#7d7d7d"
COLOURS: Mapping[Decision, str] = {
    "FAIL": "#a50f2b",
    "DEGRADED": "#ef8a4b",
    "UNDECIDED": "#b9b9b9",
    "PASS": "#4a90c4",
}
LINES: Mapping[str, tuple[str, Any, float]] = {
    OURS: ("#d1495b", "-", 2.2),
    OURS_BY_LEVEL: ("#d1495b", ":", 1.6),
    "vLLM check_logprobs_close": ("#8f6bc7", "-", 1.2),
    "SGLang tolerance": ("#2a9d8f", "-", 1.2),
    "SGLang ROUGE-L": ("#2a9d8f", "--", 1.2),
    "llama.cpp NMSE": ("#c9952b", "-", 1.2),
    "prime-rl mismatch_kl": ("#4a90c4", "-", 1.2),
}
"""Colour, dash and width of each rule."""

SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "verdict",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLUMNS = 4
LETTERS = 42
"""Of the grades of a panel in one line, below their bars."""


def power(model: ModelPower) -> bytes:
    """One panel for each kind of fault: the share of each verdict by grade, one bar for each size of the set."""
    kinds: dict[str, list[FaultPower]] = {}
    for fault in model.faults:
        kinds.setdefault(fault.kind, []).append(fault)
    order = sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))
    rows = -(-len(order) // COLUMNS)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 1.0 + 1.75 * rows), layout="constrained")
        axes = figure.subplots(max(rows, 1), COLUMNS, squeeze=False)
        for place, panel in enumerate(axes.flat):
            if place < len(order):
                _power_panel(panel, order[place], sorted(kinds[order[place]], key=lambda f: max(f.ratio, f.ratio_d)))
            else:
                panel.set_axis_off()
        sizes = ", ".join(str(size) for size in _sizes(model))
        handles = [Patch(facecolor=COLOURS[decision], label=decision) for decision in DECISIONS]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
        figure.supxlabel(f"grade, and T of all its sequences; bars: sets of {sizes} sequences", fontsize=8)
        figure.supylabel("share of sets", fontsize=8)
        return _svg(figure)


def _sizes(model: ModelPower) -> list[int]:
    return sorted({size for fault in model.faults for size in fault.shares})


def _power_panel(panel: Axes, kind: str, faults: Sequence[FaultPower]) -> None:
    panel.set_title(kind, fontsize=8, color=INK)
    for place, fault in enumerate(faults):
        sizes = sorted(fault.shares)
        width = 0.84 / len(sizes)
        for bar, size in enumerate(sizes):
            bottom = 0.0
            for decision in DECISIONS:
                share = fault.shares[size][decision]
                x = place - 0.42 + (bar + 0.5) * width
                panel.bar(x, share, width * 0.88, bottom=bottom, color=COLOURS[decision], linewidth=0)
                bottom += share
    letters = LETTERS // max(len(faults), 3)
    grades = ["\n".join([*textwrap.wrap(fault.grade, letters), f"T {fault.ratio:.3g}"]) for fault in faults]
    panel.set_xticks(range(len(faults)), grades, fontsize=6.5)
    panel.set_xlim(-0.6, max(len(faults), 3) - 0.4)
    panel.set_yticks([0, 0.5, 1], ["0", "½", "1"], fontsize=6.5)
    panel.set_ylim(0, 1)
    panel.tick_params(length=0)


def curves(model: ModelPower) -> bytes:
    """Detected faults against false alarms, a column for each size of the set; points: as published."""
    sizes = sorted({curve.size for curve in model.curves})
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        axes = figure.subplots(2, max(len(sizes), 1), squeeze=False, sharey=True)
        for row, what in enumerate(("all faults", "faults above the floor")):
            for column, size in enumerate(sizes):
                panel = axes[row][column]
                panel.set_title(f"{what}, {size} sequences", fontsize=8, color=INK)
                some = [curve for curve in model.curves if curve.size == size]
                _curves_panel(panel, some, model.published[size], above=bool(row))
        handles = [
            Line2D([], [], color=colour, linestyle=dash, linewidth=width, label=rule)
            for rule, (colour, dash, width) in LINES.items()
        ]
        handles.append(Line2D([], [], color=INK, marker="o", linestyle="", label="at the published threshold"))
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
        figure.supxlabel("false alarms, share of healthy units", fontsize=8)
        figure.supylabel("detected, mean share over faults", fontsize=8)
        return _svg(figure)


def _curves_panel(panel: Axes, some: Sequence[Curve], published: Mapping[str, Point], above: bool) -> None:
    units = max((len(curve.points) - 1 for curve in some), default=1)
    none = 0.4 / units  # where a rate of nought stands on an axis of logarithms

    def of(point: Point) -> float:
        return point.above if above else point.every

    for curve in some:
        colour, dash, width = LINES[curve.rule]
        rates = [max(none, i / units) for i in range(len(curve.points))]
        panel.step(
            rates, [of(point) for point in curve.points], where="post",
            color=colour, linestyle=dash, linewidth=width,
        )  # fmt: skip
    for rule, point in published.items():
        if rule in LINES:
            panel.plot(max(none, point.false_alarms), of(point), "o", color=LINES[rule][0], markersize=5)
    panel.set_xscale("log")
    ticks = [rate for rate in (0.001, 0.01, 0.1, 1.0) if rate > 2 * none]
    panel.set_xticks([none, *ticks], ["none", *(f"{rate:.3g}" for rate in ticks)])
    panel.set_xticks([], minor=True)
    panel.set_ylim(0, 1.02)
    panel.grid(color=INK, alpha=0.2, linewidth=0.5)


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
