"""A/A: each replicate of the reference as if it were an engine, judged by the noise of the others alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from probes.noise_floor import Decision
from tests.benchmarks.verdict import judging, units


def looks(folder: Path, first: int) -> Iterator[tuple[Decision, ...]]:
    """Of all replicates of a model: the verdict at a first look of that many sequences, and at each further one."""
    known = judging.family(str(folder / "reference.npz"))
    int8_ratio = judging.int8_ratio_of(folder)
    for name, run in known.replicates.items():
        others = known._replace(replicates={n: other for n, other in known.replicates.items() if n != name})
        for look in units.looks(len(run.target_logprobs), first):
            yield tuple(judging.looked(others, run, look, int8_ratio))
