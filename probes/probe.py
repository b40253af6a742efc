"""What a probe is: a measurement without thresholds and a judgement without I/O."""

from __future__ import annotations

from collections.abc import Callable

from matrix.cells import Cell, Record, Tier
from matrix.results import Measurement, Table, Verdict
from probes.reference.stage import Reference
from probes.stopwatch import Stopwatch
from runners.engine import Server


class Look(Record, frozen=True, kw_only=True):
    """A part of the sequences that a probe may ask for, in units of the device's workload; no two parts overlap."""

    start: int = 0
    size: int = 1


class Bench(Record, frozen=True, kw_only=True):
    """What a measurement may use besides the server."""

    reference: Reference
    """Of the weights that the engine computes with: where it quantizes them, of what they are then."""
    watch: Stopwatch
    look: Look = Look()
    released: Reference | None = None
    """Of the weights as they were released, where the engine computes with others."""

    def corpus(self) -> Table:
        """The part of the corpus that is looked at, as the reference says it."""
        unit = self.reference.workload.corpus_sequences
        return self.reference.corpus(self.look.start * unit, self.look.size * unit)


class Sequential(Record, frozen=True, kw_only=True):
    """How a probe goes on that its first look left undecided, or led to accuse an engine."""

    more: tuple[Look, ...]
    """What is measured besides, one after another, while the verdict is UNDECIDED."""
    pool: Callable[[Measurement, Measurement], Measurement]
    """Two looks as one measurement."""
    confirm: Callable[[Measurement, Measurement], Measurement]
    """A measurement, and beside it the one on other sequences in a fresh server that must bear it out."""
    needs_confirming: Callable[[Verdict], bool]
    """Whether chance, or one bad start, could have led to this verdict."""


class Probe(Record, frozen=True, kw_only=True):
    """One question to a running engine."""

    name: str
    version: int
    """Raised whenever measuring or judging changes; results of another version are not compared."""
    tier: Tier
    """How much is asked, the least first; a profile says how far it goes."""
    order: int
    """Probes of a cell run in this order, so that the cheapest evidence comes first."""
    deadline_s: float
    measure: Callable[[Server, Cell, Bench], Measurement]
    judge: Callable[[Measurement, Cell], Verdict]
    not_asked: Callable[[Cell], str | None] = lambda cell: None
    """Why a cell is not asked; None where it is."""
    of_some_configs: bool = False
    """Left out, without a word, of a run in which no cell is asked."""
    timing: bool = False
    """Alone among timings on its machine."""
    by_reference: bool = False
    """The verdict rests on what the reference says, and so falls where that is in doubt."""
    sequential: Sequential | None = None
