"""One probe of one cell: measure, store, judge; once more with more data where that leaves it undecided.

An engine is accused only by two measurements that agree, the second on other sequences in a fresh server: what one
start or one set of sequences brings about by chance does not come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from filelock import FileLock

from matrix.cells import Cell
from matrix.errors import PrerequisiteNotMet
from matrix.results import Measurement, Status, Verdict
from probes.probe import Bench, Look, Probe, Sequential
from runners import cache
from runners.engine import Server


class Served(Protocol):
    """A cell's engine."""

    bench: Bench

    @property
    def server(self) -> Server:
        """The one that is up now."""

    def again(self) -> None:
        """Take the engine down and start it anew, where it is ours to start."""


def examine(probe: Probe, cell: Cell, served: Served, keep: Callable[[Measurement], None]) -> Verdict:
    """The verdict; `keep` is given each measurement before anybody judges it, the whole of it so far each time."""
    if served.server.exit_code() is not None:
        raise PrerequisiteNotMet("the engine had ended before this probe")
    why_not = probe.not_asked(cell)
    if why_not is not None:
        return Verdict(status=Status.SKIP, reason=why_not)

    def judged(measurement: Measurement) -> Verdict:
        keep(measurement)
        return probe.judge(measurement, cell)

    measurement = _measure(probe, cell, served, Look())
    verdict = judged(measurement)
    if probe.sequential is None:
        return verdict
    return _go_on(probe, probe.sequential, cell, served, measurement, verdict, judged)


def _go_on(
    probe: Probe,
    how: Sequential,
    cell: Cell,
    served: Served,
    measurement: Measurement,
    verdict: Verdict,
    judged: Callable[[Measurement], Verdict],
) -> Verdict:
    size = 1
    for look in how.more:
        if verdict.status is not Status.UNDECIDED:
            break
        measurement = how.pool(measurement, _measure(probe, cell, served, look))
        verdict = judged(measurement)
        size += look.size
    if how.needs_confirming(verdict):
        served.again()
        # As many sequences as led to the verdict, behind all that any look asks for.
        other = Look(start=1 + sum(look.size for look in how.more), size=size)
        verdict = judged(how.confirm(measurement, _measure(probe, cell, served, other)))
    return verdict


def _measure(probe: Probe, cell: Cell, served: Served, look: Look) -> Measurement:
    bench = msgspec.structs.replace(served.bench, look=look)
    if not probe.timing:
        return probe.measure(served.server, cell, bench)
    with FileLock(cache.root() / "timing.lock"):
        return probe.measure(served.server, cell, bench)
