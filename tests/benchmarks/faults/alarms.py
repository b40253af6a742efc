"""Healthy engines, asked over many distinct corpora: how often one is accused."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.queues import SimpleQueue

import msgspec

from matrix.cells import Cell, Record
from matrix.load import PACKAGED
from matrix.plan import Planned
from matrix.results import Status, Verdict
from probes import batch, context, correctness, state
from probes.probe import Look, Probe
from probes.session import Options, Session, Up
from probes.stopwatch import Stopwatch
from probes.workers import take_cores
from runners import failure
from runners.engine import Engine
from tests.benchmarks.faults.page import Alarms, Healthy

ASKED: tuple[Probe, ...] = (correctness.PROBE, state.PROBE, batch.PROBE, context.PROBE)
"""Those whose question depends on the corpus."""
SHOWN = 5
"""Of the sentences that a probe said of a cell, but for a PASS, how many are printed."""


class Asked(Record, frozen=True, kw_only=True):
    """A healthy cell."""

    profile: str
    cell: str
    """Its id."""
    parts: tuple[int, ...]
    """Of the corpus, by number."""
    probes: tuple[str, ...]
    """By name: those that it was not asked yet."""


def say(line: str) -> None:
    """To the terminal, from whichever process."""
    print(line, file=sys.stderr, flush=True)


def over(cells: Sequence[Asked], jobs: int) -> Iterator[Healthy]:
    """What was said of each cell, as the answers come; `jobs` cells at a time."""
    context = multiprocessing.get_context("spawn")
    places: SimpleQueue[int] = context.SimpleQueue()
    for place in range(jobs):
        places.put(place)
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(places, jobs)) as pool:
        try:
            for done in as_completed([pool.submit(of_cell, asked) for asked in cells]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)  # when interrupted, it would otherwise ask all the others first


def _begin(places: SimpleQueue[int], jobs: int) -> None:
    take_cores(places.get(), jobs)


def of_cell(asked: Asked) -> Healthy:
    """Each probe on each part of the corpus, with one start of the engine."""
    with tempfile.TemporaryDirectory() as run:
        session = Session(Options(matrix=str(PACKAGED), profile=asked.profile, run=run))
        try:
            (planned,) = (planned for planned in session.plan if planned.cell.id == asked.cell)
            told, silent = _answers(session, planned, asked)
        finally:
            session.close()
    cell = planned.cell
    today = dt.datetime.now(dt.UTC).date()
    who = {"cell": cell.id, "engine": cell.release.id, "model": cell.model.id}
    return Healthy(**who, measured=today, alarms=told, silent=silent)


def _answers(session: Session, planned: Planned, asked: Asked) -> tuple[tuple[Alarms, ...], str | None]:
    try:
        with session.serve(planned, Stopwatch()) as up:
            told = []
            for probe in (probe for probe in ASKED if probe.name in asked.probes):
                verdicts = _verdicts(up, probe, planned.cell, asked.parts)
                told.append(_alarms(probe, planned.cell, verdicts, asked.parts))
                if verdicts[-1].status is Status.CRASH:
                    break
            return tuple(told), None
    except Exception as error:
        verdict = _of_error(session.engines[planned.cell.release.engine], planned.cell, error)
        silent = f"{verdict.status.value}: {verdict.reason}"
        say(f"{planned.cell.id}: {silent}")
        return (), silent


def _verdicts(up: Up, probe: Probe, cell: Cell, parts: Sequence[int]) -> list[Verdict]:
    """One for each part of the corpus; none after the engine has crashed, or said that it cannot be asked this."""
    told: list[Verdict] = []
    for part in parts:
        told.append(_verdict(up, probe, cell, part))
        if told[-1].status in (Status.CRASH, Status.SKIP):
            break
    return told


def _alarms(probe: Probe, cell: Cell, told: list[Verdict], parts: Sequence[int]) -> Alarms:
    counted = Counter(one.status for one in told)
    say(f"{cell.id} {probe.name}: {', '.join(f'{count} {status.value}' for status, count in counted.items())}")
    others = Counter(one.reason for one in told if one.status is not Status.PASS)
    for reason, count in others.most_common(SHOWN):
        say(f"    {count} x {reason}")
    return Alarms(
        probe=probe.name,
        version=probe.version,
        parts=tuple(parts[: len(told)]),
        statuses={status.value: count for status, count in counted.items()},
    )


def _verdict(up: Up, probe: Probe, cell: Cell, part: int) -> Verdict:
    bench = msgspec.structs.replace(up.bench, look=Look(start=part))
    try:
        return probe.judge(probe.measure(up.server, cell, bench), cell)
    except Exception as error:
        return _of_error(up.server.engine, cell, error)


def _of_error(engine: Engine, cell: Cell, error: Exception) -> Verdict:
    """As a run would say it: what this build for CPUs lacks is no fault."""
    lacking = engine.lacking_on_cpu if cell.device.kind == "cpu" else None
    excused = failure.excused(error, lacking)
    reason, evidence = failure.describe(excused)
    return Verdict(status=failure.status_of(excused), reason=reason, evidence=evidence)
