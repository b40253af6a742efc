"""Failures made by hand, and the tracker on the small GitHub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from matrix.results import Result, Status
from reports.bugs import github, tracker, tracking
from reports.bugs.failures import Failure, Touched
from reports.bugs.tracker import Done, Report
from reports.github import Patience
from tests.github.server import REPOSITORY, Befalls, GitHub, Trouble, serving
from tests.reports.samples import cell, result

IMPATIENT = Patience(tries=2, pause_s=0.01, longest_wait_s=2.0, between_writes_s=0.0, answer_s=5)
HASTY = Patience(tries=0, pause_s=0.0, longest_wait_s=0.5, between_writes_s=0.0, answer_s=5)
"""Gives up at once: as if it had been killed there."""

ONE = "alpha-loading-000000000001"


def failure(
    name: str = ONE, *, aliases: Sequence[str] = (), models: Sequence[str] = ("small",),
    devices: Sequence[str] = ("cpu",), confirmed: bool = True, standing: bool = True, clean: int = 0,
    mended_by: str | None = None, status: Status = Status.CRASH, expected: Status = Status.PASS, minute: int = 0,
) -> Failure:  # fmt: skip
    engine, probe, _ = name.rsplit("-", 2)
    seen = result(probe, status, of=cell(engine), expected=expected, minute=minute)
    return Failure(
        id=name,
        aliases=(name, *aliases),
        engine=engine,
        probe=probe,
        kind="crash",
        words="RuntimeError: N",
        confirmed=confirmed,
        standing=standing,
        latest=tuple(_on(seen, model) for model in models),
        first_seen=seen,
        clean_nights=clean,
        mended_by=mended_by,
        touched=Touched(
            models=tuple(models), architectures=("Small",), releases=(f"{engine}-1.0",), devices=tuple(devices),
            configs=("default",),
        ),
        neighbours=(),
    )  # fmt: skip


def _on(seen: Result, model: str) -> Result:
    of = msgspec.structs.replace(seen.cell, model=msgspec.structs.replace(seen.cell.model, id=model))
    return msgspec.structs.replace(seen, cell=of, cell_id=of.id)


def report(of: Failure | None = None, *, body: str = "It crashes.", held_back: str = "") -> Report:
    of = of or failure()
    return Report(failure=of, title=f"{of.engine}: {of.probe} fails", body=body, held_back=held_back)


def gone(nights: int, name: str = ONE) -> Report:
    return report(failure(name, standing=False, clean=nights, mended_by="alpha-1.1"))


class Bench:
    """The small GitHub, and runs of the tracker on it."""

    def __init__(self, hub: GitHub, address: str) -> None:
        self.hub, self.address = hub, address
        self.night = 0

    def sync(
        self, *reports: Report, again: bool = False, night: str = "", patience: Patience = IMPATIENT,
        token: str = "job-token",
    ) -> Done:  # fmt: skip
        """One run, of the next night unless it is the same one `again`, or one is named."""
        self.night += not again
        with github.opened(REPOSITORY, token=token, api=self.address, patience=patience) as there:
            return tracker.sync(there, reports, night=night or f"night-{self.night}")

    @contextmanager
    def befalling(self, befalls: Befalls) -> Iterator[None]:
        """Trouble for the requests of a while, counted from 1."""
        before, before_it = len(self.hub.asked), self.hub.befalls
        self.hub.befalls = lambda number, method, path: befalls(number - before, method, path)
        try:
            yield
        finally:
            self.hub.befalls = before_it


@contextmanager
def benches() -> Iterator[Bench]:
    hub = GitHub()
    with serving(hub) as address:
        yield Bench(hub, address)


def once(trouble: Trouble, method: str, path: str) -> Befalls:
    """One trouble, for the first request of a method whose path ends so."""
    left = [trouble]

    def befalls(number: int, asked: str, of: str) -> Trouble | None:
        return left.pop() if left and (asked, of.endswith(path)) == (method, True) else None

    return befalls


def dead_after(count: int, *, done: bool = False) -> Befalls:
    """No answer any more after so many; `done`: what the next one asks for is done all the same."""
    return lambda number, method, path: Trouble(done=done and number == count + 1) if number > count else None


def steps(done: Done) -> list[str]:
    return [tracking.sentence(step) for step in done.steps]
