"""The mutation score as it was last measured: `make bench-mutation` writes it, pages show it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from matrix.cells import Record
from matrix.results import read_json

FILE = Path(__file__).parent / "mutation-score.json"
SCHEMA_VERSION = 1


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


@cache
def measured() -> MutationScore:
    """What the benchmark last wrote."""
    return read_json(FILE, MutationScore)
