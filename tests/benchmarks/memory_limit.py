"""A limit on the memory of a child process, by a control group of our own; version 1 or 2 of the kernel's interface."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matrix.errors import Infrastructure

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[Path]:
    """A group with this limit; write a process's id into the file that is yielded, before it takes memory.

    Raises Infrastructure where no group can be made (it takes root).
    """
    first = (ROOT / "memory").is_dir()
    group = (ROOT / "memory" if first else ROOT) / f"readiness-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit_bytes))
    except OSError as error:
        raise Infrastructure(f"memory cannot be limited here: {error}") from error
    try:
        yield group / "cgroup.procs"
    finally:
        group.rmdir()
