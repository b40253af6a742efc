"""Where the time of a cell goes: engine, reference, or ourselves."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = "environments"
STARTUP = "engine start"
ENGINE = "waiting for engines"
REFERENCE = "reference"
HARNESS = "harness"
PARTS = (ENVIRONMENT, REFERENCE, STARTUP, ENGINE, HARNESS)


class Stopwatch:
    """Adds up seconds by name; overlapping uses of one name count once, as wall clock does."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._running: dict[str, int] = defaultdict(int)
        self._since: dict[str, float] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Count the time inside the block as `name`."""
        if self._running[name] == 0:
            self._since[name] = time.monotonic()
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if self._running[name] == 0:
                self.spent[name] += time.monotonic() - self._since[name]
