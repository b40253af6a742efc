"""What is fetched before any engine starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from matrix.cells import Model
from matrix.errors import Infrastructure
from probes import session, stage
from probes.session import Options
from runners.environments import Say
from runners.models import Checkpoint
from runners.progress import Board


class WithoutHub(session.Session):
    """A session to which the hub gives nothing."""

    def checkpoint(self, model: Model, say: Say = print) -> Checkpoint:
        raise Infrastructure("the hub did not give it: 429")


def test_a_model_that_cannot_be_had_is_reported_and_stops_nothing(
    tables: Path, monkeypatch: pytest.MonkeyPatch, cache_root: Path
) -> None:
    """The command's exit status tells; the cells of that model say why, and the others run."""
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.adapter")
    made = WithoutHub(Options(matrix=str(tables)))
    found = stage.prefetch(made, [planned.cell for planned in made.plan], Board(Console(quiet=True)))
    assert found == {"pocket": None}


def test_an_interrupt_begins_nothing_more() -> None:
    """What waits for its turn is not made after Ctrl-C: it had been, for a minute and more."""
    begun, end = threading.Event(), threading.Event()
    futures: list[Future[bool]] = []

    def under_way() -> bool:
        begun.set()
        return end.wait(30)

    def interrupted() -> None:
        of_run = session.Session(Options())
        with ThreadPoolExecutor(1) as pool, stage._stopping(of_run, pool):
            futures.extend(pool.submit(under_way) for _ in range(2))
            futures[1].add_done_callback(lambda cancelled: end.set())
            assert begun.wait(30)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert futures[0].result()
    assert futures[1].cancelled()


# A real process that a signal ends, and that ends by itself should the test be stopped before.
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_an_interrupt_ends_only_what_staging_started() -> None:
    """A compilation that a thread waits for ends; a process that was there before is another's."""
    started: list[subprocess.Popen[bytes]] = []

    def interrupted() -> None:
        of_run = session.Session(Options())
        with ThreadPoolExecutor(1) as pool, stage._stopping(of_run, pool):
            started.append(subprocess.Popen(SLEEPER))
            raise KeyboardInterrupt

    with subprocess.Popen(SLEEPER) as another:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert started[0].wait(30) == -signal.SIGTERM
        assert another.poll() is None
        another.terminate()
