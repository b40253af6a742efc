"""Waiting for an engine to become ready: with a deadline, and with an eye on what runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from matrix.errors import EngineTimedOut, ReadinessError
from runners import failure

POLL_S = 0.2


def wait_ready(
    healthy: Callable[[], bool], death: Callable[[], ReadinessError | None], log_path: Path, deadline_s: float
) -> None:
    """Return once `healthy`; raises what `death` explains, or EngineTimedOut with the end of the log."""
    end = time.monotonic() + deadline_s
    while True:
        error = death()
        if error is not None:
            raise error
        if healthy():
            return
        if time.monotonic() > end:
            late = EngineTimedOut(f"not healthy after {deadline_s:.0f} s, though its process is alive")
            late.add_note(failure.read_log(log_path, failure.LOG_TAIL_LINES))
            raise late
        time.sleep(POLL_S)
