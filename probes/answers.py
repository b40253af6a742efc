"""What cells answered last, and what their verdicts were before cells were compared with each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from matrix.results import RESULT_ENDING, Result, SchemaError, Verdict, read_result

ALONE = "judged alone"
"""The name in a verdict's evidence of what it was before."""


def newest(runs: Iterable[Path], probe: str) -> list[tuple[Path, Result]]:
    """The newest readable answer of each cell to a probe, and its run."""
    found = []
    for run in runs:
        for path in sorted(run.glob(f"*/{probe}{RESULT_ENDING}")):
            try:
                found.append((run, read_result(path)))
            except SchemaError:
                continue  # whoever reports on the run names it
    found.sort(key=lambda one: one[1].provenance.started_at)
    return list({result.cell_id: (run, result) for run, result in found if result.verdict.status.measured}.values())


def judged_alone(verdict: Verdict) -> str:
    """Status and sentence of a verdict, before any other cell was looked at."""
    return verdict.evidence.get(ALONE, f"{verdict.status.value}: {verdict.reason}")
