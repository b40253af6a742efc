"""What a probe is: a measurement without thresholds and a judgement without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from matrix.cells import Cell, Record
from matrix.results import Measurement, Verdict
from probes.reference.stage import Reference
from probes.stopwatch import Stopwatch
from runners.engine import Server


class Bench(Record, frozen=True, kw_only=True):
    """What a measurement may use besides the server."""

    reference: Reference
    watch: Stopwatch


class Probe(Record, frozen=True, kw_only=True):
    """One question to a running engine."""

    name: str
    version: int
    """Raised whenever measuring or judging changes; results of another version are not compared."""
    tier: Literal["smoke", "correctness", "speed"]
    """`speed` runs only in configs whose speed counts, and alone among timings on its machine."""
    order: int
    """Probes of a cell run in this order, so that the cheapest evidence comes first."""
    deadline_s: float
    measure: Callable[[Server, Cell, Bench], Measurement]
    judge: Callable[[Measurement, Cell], Verdict]
