"""Healthy engines, asked over many distinct corpora: how often one is accused."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

import msgspec

from matrix.cells import Cell
from matrix.load import PACKAGED
from matrix.plan import Planned
from matrix.results import Status, Verdict
from probes import batch, context, correctness, state
from probes.probe import Look, Probe
from probes.session import Options, Session, Up
from probes.stopwatch import Stopwatch
from runners import failure
from tests.benchmarks.faults.mechanisms import CAUGHT
from tests.benchmarks.faults.page import Alarms

ASKED: tuple[Probe, ...] = (correctness.PROBE, state.PROBE, batch.PROBE, context.PROBE)
"""Those whose question depends on the corpus."""


def over(profile: str, select: tuple[str, ...], corpora: int, say: Callable[[str], None]) -> Iterator[Alarms]:
    """Selected cells of a profile, each probe on `corpora` parts of the corpus, with one start of each engine."""
    with tempfile.TemporaryDirectory() as run:
        session = Session(Options(matrix=str(PACKAGED), profile=profile, run=run))
        try:
            for planned in session.plan:
                if planned.excluded is None and any(fnmatchcase(planned.cell.id, glob) for glob in select or ("*",)):
                    yield from _of_cell(session, planned, corpora, say)
        finally:
            session.close()


def _of_cell(session: Session, planned: Planned, corpora: int, say: Callable[[str], None]) -> Iterator[Alarms]:
    cell_id = planned.cell.id
    try:
        with session.serve(planned, Stopwatch()) as up:
            for probe in ASKED:
                told = [_verdict(up, probe, planned.cell, place) for place in range(corpora)]
                counted = Counter(verdict.status for verdict in told)
                say(f"{cell_id} {probe.name}: {', '.join(f'{n} {status.value}' for status, n in counted.items())}")
                for place, verdict in enumerate(told):
                    if verdict.status in CAUGHT:
                        say(f"    corpus {place}: {verdict.reason}")
                yield Alarms(
                    engine=planned.cell.release.id,
                    model=planned.cell.model.id,
                    probe=probe.name,
                    corpora=corpora,
                    accused=sum(n for status, n in counted.items() if status in CAUGHT),
                    undecided=counted[Status.UNDECIDED],
                    no_verdict=counted[Status.SKIP] + counted[Status.ERROR],
                )
    except Exception as error:
        reason, _ = failure.describe(error)
        say(f"{cell_id}: {failure.status_of(error).value}: {reason}")


def _verdict(up: Up, probe: Probe, cell: Cell, place: int) -> Verdict:
    bench = msgspec.structs.replace(up.bench, look=Look(start=place))
    try:
        return probe.judge(probe.measure(up.server, cell, bench), cell)
    except Exception as error:
        reason, evidence = failure.describe(error)
        return Verdict(status=failure.status_of(error), reason=reason, evidence=evidence)
