"""Live progress of things that are built side by side: a line each on a terminal, sparse lines in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from runners.environments import Say

SAY_EVERY_S = 30.0
"""How often a log without a terminal hears of something that is still going on."""


class Board:
    """Named lines that tell what is being built; safe to use from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[name]:<24}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=console, transient=False) if console.is_terminal else None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the board while the block runs."""
        if self._progress is None:
            yield
            return
        with self._progress:
            yield

    @contextmanager
    def line(self, name: str) -> Iterator[Say]:
        """One line; what is said replaces it. It ends with the seconds, or with the error that leaves the block."""
        started = time.monotonic()
        task = self._progress.add_task("", name=name, total=1) if self._progress is not None else None

        def say(text: str) -> None:
            if self._progress is not None and task is not None:
                self._progress.update(task, description=text[:80])
            else:
                self._say_sometimes(name, text)

        try:
            yield say
        except BaseException as error:
            self._end(name, task, f"failed after {time.monotonic() - started:.0f} s: {error}")
            raise
        self._end(name, task, f"ready in {time.monotonic() - started:.0f} s")

    def _say_sometimes(self, name: str, text: str) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._said.get(name, 0.0) < SAY_EVERY_S:
                return
            self._said[name] = now
        self._console.print(f"{name}: {text}", markup=False, highlight=False)

    def _end(self, name: str, task: object, text: str) -> None:
        if self._progress is not None:
            self._progress.update(task, description=text[:200], completed=1)  # type: ignore[arg-type]  # a TaskID
        else:
            self._console.print(f"{name}: {text}", markup=False, highlight=False)
