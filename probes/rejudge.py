"""Verdicts recomputed from stored measurements: no engine, no reference, no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matrix.cells import Record
from matrix.errors import WrongInput
from matrix.results import Result, Verdict, read_measurement
from probes.answers import judged_alone
from probes.probe import Probe


class Rejudged(Record, frozen=True, kw_only=True):
    """A stored verdict beside the one that the code of today gives."""

    result: Result
    verdict: Verdict

    @property
    def same(self) -> bool:
        """True where status and sentence are what they were, before it was compared with other cells."""
        return judged_alone(self.result.verdict) == judged_alone(self.verdict)


def rejudge(run: Path, result: Result, probes: Mapping[str, Probe]) -> Rejudged | None:
    """Judge a result's measurement again; None where there is none, because nothing was measured."""
    if result.measurement is None:
        return None
    probe = probes.get(result.probe)
    if probe is None:
        raise WrongInput(f"{result.cell_id}: no probe {result.probe!r} in this version")
    if probe.version != result.probe_version:
        raise WrongInput(
            f"{result.cell_id} {result.probe}: measured by version {result.probe_version}, this is {probe.version}"
        )
    measurement = read_measurement(run / result.cell_id / result.measurement)
    return Rejudged(result=result, verdict=probe.judge(measurement, result.cell))
