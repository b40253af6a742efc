"""The one test: every probe of every cell."""

from __future__ import annotations

from matrix.plan import Planned
from probes.conftest import Record, examine
from probes.probe import Bench, Probe
from probes.session import Session
from runners.engine import Server


def test_cell(planned: Planned, probe: Probe, record: Record, session: Session, served: tuple[Server, Bench]) -> None:
    """Measure, store, judge; the report hook writes the result and shapes the outcome."""
    record.verdict = examine(record, session, planned, probe, *served)
