"""What was measured of the verdicts themselves: benchmarks write it, pages show it."""

from __future__ import annotations

import math
from functools import cache
from itertools import takewhile
from pathlib import Path

from matrix.cells import Record
from matrix.results import read_json

SCHEMA_VERSION = 1

FOLDER = Path(__file__).parent
MUTATION_SCORE = FOLDER / "mutation-score.json"
FAULT_COVERAGE = FOLDER / "fault-coverage.json"
VERDICT_POWER = FOLDER / "verdict-power.json"


class CheckpointScore(Record, frozen=True, kw_only=True):
    """Of one tiny checkpoint."""

    architecture: str
    """The class that the published config names."""
    mutants: int
    """Equivalent ones left out."""
    killed: int
    operators: int
    score: float
    """Share of killed mutants of an operator, averaged over operators."""


class MutationScore(Record, frozen=True, kw_only=True):
    """Which faults a PASS in float32 rules out."""

    schema_version: int
    made_at: str
    """UTC, ISO 8601."""
    transformers: str
    score: float
    """Share of killed mutants of an operator, averaged over operators."""
    mutants: int
    killed: int
    operators: int
    null_twins: int
    false_alarms: int
    checkpoints: dict[str, CheckpointScore]
    """By recipe."""


class ProbeCoverage(Record, frozen=True, kw_only=True):
    """Of one probe."""

    faults: int
    """Publicly reported ones for which this probe is asked."""
    caught: int
    """What was not run is not caught."""
    mechanisms: tuple[str, ...]
    """What stands for them: the kinds of fault that it was shown."""


class FaultCoverage(Record, frozen=True, kw_only=True):
    """Publicly reported faults of new models, and how many of them the probes catch."""

    schema_version: int
    made_at: str
    """UTC, ISO 8601."""
    elsewhere: int
    """Faults that no CPU can show."""
    probes: dict[str, ProbeCoverage]
    healthy_verdicts: int
    """Of healthy engines: PASS, UNDECIDED, or an accusation."""
    false_alarms: int

    @property
    def faults(self) -> int:
        """All that a CPU can show."""
        return sum(one.faults for one in self.probes.values())

    @property
    def caught(self) -> int:
        """Of those."""
        return sum(one.caught for one in self.probes.values())


class FaultFound(Record, frozen=True, kw_only=True):
    """How often one fault of a known size was found."""

    fault: str
    """Its kind and grade."""
    ratio: float
    """Its size: divergence in prefill, in units of the model's own rounding noise."""
    ratio_d: float
    """The same of the target logprobs."""
    found: dict[str, float]
    """Share of sets called DEGRADED or FAIL, by the number of sequences in a set."""

    @property
    def size(self) -> float:
        """The larger of the two."""
        return max(self.ratio, self.ratio_d)


class ModelPower(Record, frozen=True, kw_only=True):
    """Of one model in bfloat16."""

    healthy_units: int
    """Sets of sequences of all sizes, each through a healthy path."""
    false_alarms: int
    """Among these."""
    faults: tuple[FaultFound, ...]

    @property
    def sizes(self) -> list[str]:
        """Sequences of a set, the fewest first."""
        return sorted({size for fault in self.faults for size in fault.found}, key=int)

    def surely_from(self, size: str) -> float:
        """The size from which on every fault was found in every set of that many sequences."""
        ordered = sorted(self.faults, key=lambda fault: fault.size, reverse=True)
        sure = list(takewhile(lambda fault: fault.found.get(size) == 1.0, ordered))
        return sure[-1].size if sure else math.inf


class VerdictPower(Record, frozen=True, kw_only=True):
    """How large a fault must be for `correctness` to find it in bfloat16."""

    schema_version: int
    made_at: str
    """UTC, ISO 8601."""
    models: dict[str, ModelPower]


@cache
def mutation_score() -> MutationScore:
    """What `make bench-mutation` last wrote."""
    return read_json(MUTATION_SCORE, MutationScore)


@cache
def fault_coverage() -> FaultCoverage:
    """What `make bench-faults` last wrote."""
    return read_json(FAULT_COVERAGE, FaultCoverage)


@cache
def verdict_power() -> VerdictPower:
    """What `make bench-verdict` last wrote."""
    return read_json(VERDICT_POWER, VerdictPower)
