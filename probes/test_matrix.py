"""The one test: every probe of every cell."""

from __future__ import annotations

from matrix.plan import Planned
from probes.conftest import Record, keep
from probes.examine import examine
from probes.probe import Probe
from probes.session import Session, Up


def test_cell(planned: Planned, probe: Probe, record: Record, session: Session, served: Up) -> None:
    """Measure, store, judge; the report hook writes the result and shapes the outcome."""
    record.served = served
    record.verdict = examine(probe, planned.cell, served, lambda found: keep(record, session, planned, probe, found))
