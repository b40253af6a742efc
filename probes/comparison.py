"""After a run, or a night: speeds compared, which no cell can do alone.

eta is the share of the device's bound that a cell reaches at a shape: MFU in prefill, MBU in decode (`pace.py`).

- rho_arch = eta / eta of a control: a long-supported architecture of similar active bytes, in the same engine.
- rho_peer = speed / speed of the best other engine with the same model, in the same run.

MBU alone would blame small models, which no engine serves at the bound; rho_arch alone would miss an engine that is
slow with everything, rho_peer alone that all are. SLOW where a ratio is below 0.5 with its whole interval, DEGRADED
below 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from matrix.cells import Device, Record
from matrix.results import Result, SchemaError, Status, Verdict, read_measurement, write_result
from probes import loads, pace
from probes.answers import ALONE, judged_alone, newest
from probes.throughput import PROBE, Throughput

Floats = npt.NDArray[np.float64]
Of = Literal["arch", "peer"]

SLOW = 0.5
"""Substantially slower: half the speed or less."""
DEGRADED = 0.8

RHO = "_rho_"
"""In the names of the ratios among a verdict's numbers."""

SIMILAR = 4.0
"""Times more or fewer bytes per step that a control may move."""

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 20260101


class Paced(Record, frozen=True, kw_only=True):
    """The speeds of one cell."""

    run: Path
    result: Result
    speed: Mapping[str, Sequence[float]]
    """By shape, one value per repeat, larger where better."""
    eta: Mapping[str, Sequence[float]]
    """The same of the share of the device's bound; without the shapes where that is unknown."""
    step_bytes: float | None
    """Of the first shape: how large the model is for this purpose."""

    @property
    def release(self) -> str:
        """Whose speed it is."""
        return self.result.cell.release.id

    @property
    def model(self) -> str:
        """Which model's."""
        return self.result.cell.model.id


class Ratio(Record, frozen=True, kw_only=True):
    """One comparison at one shape."""

    shape: str
    of: Of
    against: str
    """The control's model, or the best engine's release."""
    value: float
    low: float
    high: float

    @property
    def status(self) -> Status:
        """What it says by itself."""
        if self.high < SLOW:
            return Status.FAIL
        return Status.DEGRADED if self.high < DEGRADED else Status.PASS

    @property
    def sentence(self) -> str:
        """In words."""
        whose = "of its bound what {} reaches there" if self.of == "arch" else "the speed of {}"
        return f"{self.shape}: {self.value:.2f} ({self.low:.2f} to {self.high:.2f}) x {whose.format(self.against)}"


def compare(runs: Iterable[Path]) -> list[Result]:
    """Rewrite, in the folders of some runs, the verdicts on speed; returns them. The newest answer of a cell counts."""
    found = [paced for run, result in newest(runs, PROBE.name) if (paced := _read(run, result)) is not None]
    return [_rewritten(one, ratios(one, found)) for one in found]


def ratios(one: Paced, found: Sequence[Paced]) -> list[Ratio]:
    """A cell's speeds against those of its control and of the best engine, where there are such."""
    place = _place(one.result)
    beside = [other for other in found if other is not one and _place(other.result) == place]
    control = _control(one, [other for other in beside if other.release == one.release])
    peers = [other for other in beside if other.model == one.model]
    made = []
    for shape, mine in one.speed.items():
        if control is not None and shape in one.eta and shape in control.eta:
            made.append(_ratio(shape, "arch", control.model, one.eta[shape], control.eta[shape]))
        rivals = {peer.release: peer.speed[shape] for peer in peers if shape in peer.speed}
        if rivals:
            best = max(rivals, key=lambda release: float(np.median(rivals[release])))
            made.append(_ratio(shape, "peer", best, mine, rivals[best]))
    return made


def _control(one: Paced, beside: Sequence[Paced]) -> Paced | None:
    """The long-supported model whose steps move the most similar number of bytes; itself, it is compared with none."""
    names = {control.model for control in one.result.cell.controls}
    if one.step_bytes is None or one.model in names:
        return None
    size = one.step_bytes
    near = [
        (abs(math.log(other.step_bytes / size)), other) for other in beside if other.model in names and other.step_bytes
    ]
    distance, nearest = min(near, key=lambda pair: pair[0], default=(math.inf, None))
    return nearest if distance <= math.log(SIMILAR) else None


def _ratio(shape: str, of: Of, against: str, mine: Sequence[float], theirs: Sequence[float]) -> Ratio:
    low, high = interval(mine, theirs)
    return Ratio(
        shape=shape, of=of, against=against, value=float(np.median(mine) / np.median(theirs)), low=low, high=high
    )


def interval(mine: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Of the ratio of two medians: percentile bootstrap; with one repeat each, the ratio itself."""
    if len(mine) < 2 or len(theirs) < 2:
        ratio = float(np.median(mine) / np.median(theirs))
        return ratio, ratio

    def ratio_of(a: Floats, b: Floats, axis: int) -> Floats:
        return np.asarray(np.median(a, axis=axis) / np.median(b, axis=axis))

    found = stats.bootstrap(
        (np.array(mine), np.array(theirs)), ratio_of, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(SEED),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def judged(alone: Verdict, found: Sequence[Ratio], device: Device) -> Verdict:
    """The worst ratio decides; where there is none, or none counts on this device, the cell stays judged alone."""
    if not found:
        return alone
    if device.speed_judged:
        order = (Status.FAIL, Status.DEGRADED, Status.PASS)
        status = min((ratio.status for ratio in found), key=order.index)
        word = {Status.FAIL: "SLOW", Status.DEGRADED: "DEGRADED", Status.PASS: "OK"}[status]
        shown = [ratio for ratio in found if ratio.status is status]
        reason = f"{word}: {'; '.join(ratio.sentence for ratio in shown)}; {alone.reason}"
    else:
        status, lowest = alone.status, min(found, key=lambda ratio: ratio.value)
        reason = f"{alone.reason}; compared, though not judged on {device.id}, at the least {lowest.sentence}"
    numbers = {f"{ratio.shape}{RHO}{ratio.of}": ratio.value for ratio in found}
    return msgspec.structs.replace(
        alone,
        status=status,
        reason=reason,
        numbers={**alone.numbers, **numbers},
        evidence={**alone.evidence, ALONE: judged_alone(alone)},
    )


def _rewritten(one: Paced, found: Sequence[Ratio]) -> Result:
    verdict = judged(alone(one.result.verdict), found, one.result.cell.device)
    result = msgspec.structs.replace(one.result, verdict=verdict)
    write_result(one.run, result)
    return result


def alone(verdict: Verdict) -> Verdict:
    """As the probe judged it, before or after it was compared."""
    if ALONE not in verdict.evidence:
        return verdict
    evidence = {name: text for name, text in verdict.evidence.items() if name != ALONE}
    status, _, reason = verdict.evidence[ALONE].partition(": ")
    numbers = {name: value for name, value in verdict.numbers.items() if RHO not in name}
    return msgspec.structs.replace(verdict, status=Status(status), reason=reason, numbers=numbers, evidence=evidence)


def _place(result: Result) -> tuple[str, ...]:
    """What speeds must share to be compared."""
    return result.cell.device.id, result.cell.config.id, result.provenance.machine


def _read(run: Path, result: Result) -> Paced | None:
    """The speeds of a cell that was judged right alone; None for others, and where the measurement is not at hand.

    A build that runs on stand-ins of ours is not as fast or slow as its engine, and is compared with nothing.
    """
    if result.cell.build == "patched" or alone(result.verdict).status is not Status.PASS or result.measurement is None:
        return None
    try:
        found = read_measurement(run / result.cell_id / result.measurement)
        values = msgspec.convert(found.values, Throughput)
        asked = loads.from_tables(found.tables, values.shapes)
    except (SchemaError, msgspec.ValidationError, KeyError):
        return None
    speed, eta = {}, {}
    for shape in values.shapes:
        mine = pace.samples(asked, shape)
        speed[shape.id] = pace.speed(mine, shape)
        shares = pace.utilisation(mine, shape, values.needs.get(shape.id), values.before)
        eta[shape.id] = shares.get(pace.UTILISATION[shape.bound], [])
    first = values.needs.get(values.shapes[0].id) if values.shapes else None
    return Paced(
        run=run,
        result=result,
        speed={shape: known for shape, known in speed.items() if known},
        eta={shape: known for shape, known in eta.items() if known},
        step_bytes=first.step_bytes if first else None,
    )
