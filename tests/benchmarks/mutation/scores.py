"""From judged mutants to scores; pure.

A mutant counts in the denominator unless it is equivalent. Scores are means over operators, so that a hundred swapped
weights cannot hide ten missed positions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from probes.noise_floor.limits import FLOAT32_FAIL
from reports.proofs import SCHEMA_VERSION, CheckpointScore, MutationScore
from tests.benchmarks.mutation.records import Judged, JudgedCheckpoint, Outcome

T = TypeVar("T")

IDENTICAL = 1e-12
"""Relative. Two orders of the same float64 sums are 1e-14 apart in these models, float32's are 1e-6."""
ALARMS = ("FAIL", "DEGRADED")

OUTCOMES: tuple[Outcome, ...] = ("killed", "undecided", "below the floor", "hole", "equivalent", "unfit")
COUNTED: tuple[Outcome, ...] = ("killed", "undecided", "below the floor", "hole")
"""Outcomes in the denominator."""


class Unit(NamedTuple):
    """A mutant with the checkpoint that it was made of."""

    checkpoint: JudgedCheckpoint
    judged: Judged

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        return outcome(self.judged)

    @property
    def counted(self) -> bool:
        """In the denominator."""
        return self.outcome in COUNTED


def outcome(judged: Judged) -> Outcome:
    """What a verdict on a mutant means for the score; records.py says what the words mean."""
    if judged.status == "UNFIT":
        return "unfit"
    if judged.status in ALARMS:
        return "killed"
    assert judged.relative is not None
    assert judged.nats is not None
    if judged.relative <= IDENTICAL and judged.told.same:
        return "equivalent"
    if judged.status != "PASS":
        return "undecided"
    if judged.relative <= IDENTICAL:
        return "hole"
    begins = FLOAT32_FAIL * max(stratum.noise_largest for stratum in judged.strata.values())
    return "hole" if judged.nats > begins else "below the floor"


def mutants(found: Iterable[JudgedCheckpoint]) -> list[Unit]:
    """Every one with a fault."""
    return [Unit(one, judged) for one in found for judged in one.judged if not judged.told.null]


def twins(found: Iterable[JudgedCheckpoint]) -> list[Unit]:
    """Every null twin that ran."""
    return [
        Unit(one, judged) for one in found for judged in one.judged if judged.told.null and judged.status != "UNFIT"
    ]


def grouped(units: Iterable[Unit], key: Callable[[Unit], T]) -> dict[T, list[Unit]]:
    """Units by something."""
    groups: dict[T, list[Unit]] = defaultdict(list)
    for unit in units:
        groups[key(unit)].append(unit)
    return dict(groups)


def by_operator(units: Iterable[Unit]) -> dict[str, list[Unit]]:
    """Those in the denominator."""
    return grouped((unit for unit in units if unit.counted), lambda unit: unit.judged.told.operator)


def mean_over_operators(units: Iterable[Unit], hit: Callable[[Unit], bool]) -> float:
    """The share of hits among counted mutants of an operator, averaged over operators; NaN where there are none."""
    groups = by_operator(units)
    shares = [sum(map(hit, group)) / len(group) for group in groups.values()]
    return float(np.mean(shares)) if shares else float("nan")


def is_killed(unit: Unit) -> bool:
    """The probe says FAIL."""
    return unit.outcome == "killed"


def rejected_by(rule: str) -> Callable[[Unit], bool]:
    """Whether a rule of others rejects it."""
    return lambda unit: unit.judged.rules.get(rule, False)


def counts(units: Iterable[Unit]) -> Mapping[Outcome, int]:
    """How many of each outcome."""
    groups = grouped(units, lambda unit: unit.outcome)
    return {name: len(groups.get(name, [])) for name in OUTCOMES}


def distinct(units: Iterable[Unit]) -> int:
    """Units that differ in some number they gave: a repetition to the bit shows nothing new."""
    return len({(unit.checkpoint.recipe, unit.judged.digest) for unit in units})


def alarms(units: Iterable[Unit]) -> list[Unit]:
    """Null twins that are accused."""
    return [unit for unit in units if unit.judged.status in ALARMS]


def far(units: Sequence[Unit], times: float) -> float:
    """The share of kills that stand so many times above the floor."""
    kills = [unit.judged.times for unit in units if is_killed(unit)]
    return sum(value >= times for value in kills) / len(kills) if kills else float("nan")


def of_checkpoint(found: JudgedCheckpoint) -> CheckpointScore:
    """The score of one checkpoint."""
    units = mutants([found])
    counted = [unit for unit in units if unit.counted]
    return CheckpointScore(
        architecture=found.architecture,
        mutants=len(counted),
        killed=sum(map(is_killed, counted)),
        operators=len(by_operator(units)),
        score=round(mean_over_operators(units, is_killed), 4),
    )


def record(found: Sequence[JudgedCheckpoint], made_at: str) -> MutationScore:
    """Everything in numbers."""
    units, nulls = mutants(found), twins(found)
    return MutationScore(
        schema_version=SCHEMA_VERSION,
        made_at=made_at,
        transformers=", ".join(sorted({one.transformers for one in found})),
        score=round(mean_over_operators(units, is_killed), 4),
        mutants=sum(unit.counted for unit in units),
        killed=sum(map(is_killed, units)),
        operators=len(by_operator(units)),
        null_twins=len(nulls),
        false_alarms=len(alarms(nulls)),
        checkpoints={one.recipe: of_checkpoint(one) for one in sorted(found, key=lambda one: one.recipe)},
    )
