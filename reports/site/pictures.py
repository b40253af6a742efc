"""Which pictures a result has. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from matrix.results import Result
from reports.proofs import FaultFound, ModelPower
from reports.site import charts

TIMES = {"ttft_s": "Time to first token", "tpot_s": "Time per output token"}
"""Of the curves of speeds, in words."""


class Picture(NamedTuple):
    """Something drawn, and what its lines and bars are."""

    drawn: Markup
    caption: str


def pictures(result: Result) -> list[Picture]:
    """What can be drawn of a result: divergence by position, times of answers, shares of the device."""
    curves, loads = result.verdict.curves, [shape.id for shape in result.cell.device.workload.shapes]
    found = [
        (
            charts.divergence(curves, stratum),
            f"{stratum.capitalize()}. Line: the engine. Band: the reference's own noise.",
        )
        for stratum in ("prefill", "decode")
    ]
    for name, words in TIMES.items():
        times = {load: [1000.0 * value for value in curves.get(f"{load}_{name}", ())] for load in loads}
        found.append(
            (
                charts.distributions(times, "ms", f"{words} of every answer."),
                f"{words}: a dot an answer, a bar at the median.",
            )
        )
    shares = charts.shares(_shares(loads, result.verdict.numbers))
    found.append(
        (shares, "Bandwidth (MBU) or operations (MFU) that the load uses, of what the device was measured to do.")
    )
    return [Picture(Markup(drawn), caption) for drawn, caption in found if drawn is not None]


def power(model: ModelPower) -> Markup | None:
    """Its faults by size: always found, sometimes, or never."""
    rows = {f"{size} sequences": _by_outcome(model.faults, size) for size in model.sizes}
    drawn = charts.power(rows, "size of the fault, in units of the model's own rounding")
    return None if drawn is None else Markup(drawn)


def _by_outcome(faults: Sequence[FaultFound], size: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"missed": [], "sometimes": [], "found": []}
    for fault in faults:
        share = fault.found.get(size)
        if share is not None:
            found["found" if share == 1.0 else "missed" if share == 0.0 else "sometimes"].append(fault.size)
    return found


def _shares(loads: Sequence[str], numbers: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    found = {}
    for load in loads:
        for name in ("mbu", "mfu"):
            if f"{load}_{name}" in numbers:
                found[load] = (name.upper(), numbers[f"{load}_{name}"])
    return found
