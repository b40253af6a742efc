"""What judged units add up to: false alarms with their exact bound, power by fault, one rule's curve beside another's.

Pure. A *score* of a unit grows with how bad it is; a rule with a threshold on it gives false alarms among healthy units
and detections among faulty ones, and all its thresholds together a curve.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import scipy

from matrix.cells import Record
from probes.noise_floor import Decision, Floats
from reports import proofs
from reports.proofs import SCHEMA_VERSION, FaultFound, VerdictPower
from tests.benchmarks.verdict import rules
from tests.benchmarks.verdict.judging import JudgedModel, JudgedRun, Unit

DECISIONS: tuple[Decision, ...] = ("FAIL", "DEGRADED", "UNDECIDED", "PASS")
BLAMED = DECISIONS[:2]

CONFIDENCE = 0.95

OURS = "ours"
OURS_BY_LEVEL = "ours, by level"

SCORES: dict[str, Callable[[Unit], float]] = {
    OURS: lambda unit: unit.tolerance,
    OURS_BY_LEVEL: lambda unit: unit.level,
    **{rule.name: lambda unit, name=rule.name: unit.statistics[name] for rule in rules.RULES},  # type: ignore[misc]  # mypy infers no type of a generic lambda or a varying tuple
}

RATES = (0.0, 0.001, 0.01, 0.05)
"""False-alarm rates at which rules are compared."""
USABLE = 0.05
"""No more false alarms than that would be borne; a curve says little beyond."""


class Count(Record, frozen=True, kw_only=True):
    """Verdicts of healthy units of one size."""

    size: int
    verdicts: dict[Decision, int]
    sets: int
    """Distinct sets of sequences: units that share one share the reference and its noise."""
    paths: int

    @property
    def total(self) -> int:
        return sum(self.verdicts.values())

    @property
    def false_alarms(self) -> int:
        return sum(self.verdicts[decision] for decision in BLAMED)


class Looks(Record, frozen=True, kw_only=True):
    """Healthy units with as many looks as they took."""

    total: int
    passed_first: int
    passed: int
    """After two doublings at most."""
    false_alarms: int
    """At any look."""


class FaultPower(Record, frozen=True, kw_only=True):
    """One fault."""

    kind: str
    grade: str
    ratio: float
    ratio_d: float
    above: bool
    """T or T_d of all its sequences is beyond g: not below the floor."""
    shares: dict[int, dict[Decision, float]]
    """By size of the set: the share of each verdict."""
    draws: dict[int, int]

    def detected(self, size: int) -> float:
        """Share of sets called DEGRADED or FAIL."""
        return sum(self.shares[size][decision] for decision in BLAMED)


class Point(Record, frozen=True, kw_only=True):
    """A rule at one threshold: shares of units, of faulty ones the mean over faults."""

    false_alarms: float
    every: float
    """Of all faults."""
    above: float
    """Of those that are not below the floor."""


class Curve(Record, frozen=True, kw_only=True):
    """A rule at all thresholds: one point for each number of false alarms, from none to all."""

    rule: str
    size: int
    points: tuple[Point, ...]

    def at(self, rate: float) -> Point:
        """The most that can be had at no more false alarms than that."""
        return self.points[int(rate * (len(self.points) - 1) + 1e-9)]


class Gap(Record, frozen=True, kw_only=True):
    """By how much ours detects less, at most, and at which rate of false alarms; nought or less: nowhere less."""

    less: float
    at: float


class Deficit(Record, frozen=True, kw_only=True):
    """One of our curves below another rule's."""

    ours: str
    other: str
    size: int
    every: Gap
    """Of all faults, at rates up to USABLE."""
    above: Gap
    """Of those that are not below the floor, at rates up to USABLE."""
    anywhere: Gap
    """Of all faults, at any rate."""
    above_anywhere: Gap
    """Of those that are not below the floor, at any rate."""


class ModelPower(Record, frozen=True, kw_only=True):
    """All that is said of one model, or of several at one threshold."""

    name: str
    faults: tuple[FaultPower, ...]
    clean: tuple[Count, ...]
    looks: Looks
    curves: tuple[Curve, ...]
    published: dict[int, dict[str, Point]]
    """By size and rule, at its authors' threshold; ours as it is."""
    deficits: tuple[Deficit, ...]
    dropped: tuple[str, ...]
    """Replicates that were left out of some unit."""
    largest_clean: float
    """The largest T of a healthy unit of the smallest size."""


def record(models: Sequence[ModelPower], now: dt.datetime) -> VerdictPower:
    """What the site says of it."""
    return VerdictPower(
        schema_version=SCHEMA_VERSION,
        made_at=now.isoformat(),
        models={
            model.name: proofs.ModelPower(
                healthy_units=sum(count.total for count in model.clean),
                false_alarms=sum(count.false_alarms for count in model.clean),
                faults=tuple(_found(fault) for fault in model.faults),
            )
            for model in models
        },
    )


def _found(fault: FaultPower) -> FaultFound:
    found = {str(size): fault.detected(size) for size in sorted(fault.shares)}
    name = f"{fault.kind} {fault.grade}".strip()
    return FaultFound(fault=name, ratio=fault.ratio, ratio_d=fault.ratio_d, found=found)


def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> float:
    """Exact upper bound of a rate, one-sided (Clopper and Pearson 1934)."""
    return 1.0 if count >= total else float(scipy.stats.beta.ppf(confidence, count + 1, total - count))


def summed(name: str, models: Sequence[JudgedModel]) -> ModelPower:
    """Everything about these models together."""
    healthy = [run for model in models for run in model.healthy]
    faulty = [run for model in models for run in model.faulty]
    sizes = sorted({len(unit.rows) for run in (*healthy, *faulty) for unit in run.units})
    faults = tuple(fault_power(run) for run in faulty)
    above = np.array([fault.above for fault in faults], bool)
    curves = tuple(
        curve(rule, size, healthy, faulty, above) for size in sizes for rule in SCORES if _compared(healthy, size)
    )
    return ModelPower(
        name=name,
        faults=faults,
        clean=tuple(_added(size, [count(size, model) for model in models]) for size in sizes),
        looks=looks(look for run in healthy for look in run.looks),
        curves=curves,
        published={size: published(size, healthy, faulty, above) for size in sizes if _compared(healthy, size)},
        deficits=tuple(
            deficit(mine, other)
            for mine in curves
            for other in curves
            if mine.rule in (OURS, OURS_BY_LEVEL) and other.size == mine.size
            if other.rule not in (OURS, OURS_BY_LEVEL)
        ),
        dropped=tuple(sorted({name for run in (*healthy, *faulty) for unit in run.units for name in unit.dropped})),
        largest_clean=max((unit.ratio for unit in _of_size(healthy, min(sizes, default=0))), default=0.0),
    )


# --- false alarms -----------------------------------------------------------------------------------------


def _of_size(runs: Iterable[JudgedRun], size: int) -> list[Unit]:
    return [unit for run in runs for unit in run.units if len(unit.rows) == size]


def _compared(runs: Iterable[JudgedRun], size: int) -> list[Unit]:
    return [unit for run in runs for unit in run.compared if len(unit.rows) == size]


def count(size: int, model: JudgedModel) -> Count:
    """Verdicts of one model's healthy units."""
    found = _of_size(model.healthy, size)
    verdicts = Counter(unit.decision for unit in found)
    return Count(
        size=size,
        verdicts={decision: verdicts[decision] for decision in DECISIONS},
        sets=len({unit.rows for unit in found}),
        paths=len(model.healthy),
    )


def later(model: JudgedModel, settled: int) -> JudgedModel:
    """The model with the healthy paths alone that were made after so many others."""
    return msgspec.structs.replace(model, healthy=tuple(run for run in model.healthy if int(run.name) >= settled))


def _added(size: int, counts: Sequence[Count]) -> Count:
    return Count(
        size=size,
        verdicts={decision: sum(one.verdicts[decision] for one in counts) for decision in DECISIONS},
        sets=sum(one.sets for one in counts),
        paths=sum(one.paths for one in counts),
    )


def looks(found: Iterable[tuple[Decision, ...]]) -> Looks:
    """How healthy units fare that are looked at again while they are undecided."""
    every = list(found)
    return Looks(
        total=len(every),
        passed_first=sum(look[0] == "PASS" for look in every),
        passed=sum(look[-1] == "PASS" for look in every),
        false_alarms=sum(look[-1] in BLAMED for look in every),
    )


# --- power ------------------------------------------------------------------------------------------------


def fault_power(run: JudgedRun) -> FaultPower:
    """The verdicts on one fault, by size of the set."""
    sizes = sorted({len(unit.rows) for unit in run.units})
    by_size = {size: [unit.decision for unit in _of_size([run], size)] for size in sizes}
    return FaultPower(
        kind=run.kind,
        grade=run.grade,
        ratio=run.ratio,
        ratio_d=run.ratio_d,
        above=max(run.ratio, run.ratio_d) > run.limit_good,
        shares={s: {d: found.count(d) / len(found) for d in DECISIONS} for s, found in by_size.items()},
        draws={size: len(found) for size, found in by_size.items()},
    )


# --- curves -----------------------------------------------------------------------------------------------


def curve(rule: str, size: int, healthy: Sequence[JudgedRun], faulty: Sequence[JudgedRun], above: Floats) -> Curve:
    """All thresholds of one rule: at each healthy unit's score, and above all of them."""
    clean = np.sort([SCORES[rule](unit) for unit in _compared(healthy, size)])[::-1]
    scores = [np.array([SCORES[rule](unit) for unit in _compared([run], size)]) for run in faulty]
    # A unit is called bad if its score is above the threshold, so that equal scores are never told apart.
    thresholds = [*clean, -np.inf]
    detected = np.array([[(own > limit).mean() if len(own) else np.nan for limit in thresholds] for own in scores])
    every, some = _mean(detected), _mean(detected[above])
    return Curve(
        rule=rule,
        size=size,
        points=tuple(
            Point(false_alarms=float((clean > limit).mean()), every=float(a), above=float(b))
            for limit, a, b in zip(thresholds, every, some, strict=True)
        ),
    )


def _mean(detected: Floats) -> Floats:
    return np.asarray(np.nanmean(detected, axis=0) if len(detected) else np.zeros(detected.shape[1]))


def published(size: int, healthy: Sequence[JudgedRun], faulty: Sequence[JudgedRun], above: Floats) -> dict[str, Point]:
    """Each rule at the threshold that its authors gave it, and ours."""

    def rejects(unit: Unit) -> dict[str, bool]:
        return {OURS: unit.decision in BLAMED, **rules.published(unit.statistics)}

    clean = [rejects(unit) for unit in _compared(healthy, size)]
    bad = [[rejects(unit) for unit in _compared([run], size)] for run in faulty]
    found = {}
    for rule in clean[0] if clean else ():
        shares = np.array([np.mean([one[rule] for one in units]) if units else np.nan for units in bad])
        found[rule] = Point(
            false_alarms=float(np.mean([one[rule] for one in clean])),
            every=float(np.nanmean(shares)) if len(shares) else 0.0,
            above=float(np.nanmean(shares[above])) if above.any() else 0.0,
        )
    return found


def deficit(ours: Curve, other: Curve) -> Deficit:
    """Where ours lies furthest below another rule's curve."""
    pairs = [(i / (len(ours.points) - 1), *both) for i, both in enumerate(zip(ours.points, other.points, strict=True))]

    def largest(of: Callable[[Point], float], most: float) -> Gap:
        gaps = [Gap(less=of(theirs) - of(mine), at=rate) for rate, mine, theirs in pairs if rate <= most]
        return max(gaps, key=lambda gap: gap.less)

    return Deficit(
        ours=ours.rule,
        other=other.rule,
        size=ours.size,
        every=largest(lambda point: point.every, USABLE),
        above=largest(lambda point: point.above, USABLE),
        anywhere=largest(lambda point: point.every, 1.0),
        above_anywhere=largest(lambda point: point.above, 1.0),
    )
