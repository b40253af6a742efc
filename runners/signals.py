"""SIGTERM as Ctrl-C: neither Python nor pytest cleans up on SIGTERM, and an engine must never outlive its run."""

from __future__ import annotations

import signal
from collections.abc import Collection

import psutil


def terminate_like_interrupt() -> None:
    """Make SIGTERM raise KeyboardInterrupt in the main thread.

    A shell that starts us in the background ignores SIGINT; copying that would ignore SIGTERM, in every engine too.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGTERM, interrupt if callable(interrupt) else signal.default_int_handler)


def children() -> set[psutil.Process]:
    """Every process that this one started, and that those started."""
    return set(psutil.Process().children(recursive=True))


def stop_children(since: Collection[psutil.Process]) -> None:
    """End the tools that this process started besides these, so that threads which wait for them can end."""
    for child in children().difference(since):
        try:
            child.terminate()
        except psutil.NoSuchProcess:
            continue
