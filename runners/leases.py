"""What cells of one machine share is leased: accelerators by id, and the memory of the host by the gibibyte.

A lease is a set of file locks, so the death of its process frees it. Who waits holds the place at the head of the
queue: a cell that needs two accelerators is not overtaken by those that need one, and two that need two cannot each
hold one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psutil
from filelock import FileLock, Timeout

from matrix.cells import Cell
from matrix.errors import Infrastructure
from runners import cache
from runners.limits import GIB, Limits

ACCELERATORS = "READINESS_ACCELERATORS"
"""Environment variable with the ids of the accelerators that may be used, separated by commas; default: all."""

KEPT_GIB = 1
"""Of the host's memory, for the harness and the system."""

POLL_S = 0.2

SMI_DEADLINE_S = 60.0
"""Seconds; a second or two is usual, some more where the driver wakes up."""


@contextmanager
def lease(cell: Cell, limits: Limits) -> Iterator[tuple[str, ...]]:
    """Hold a cell's memory and accelerators for the time of the block; yields the ids of the latter.

    Waits for others to finish. Raises Infrastructure where the machine has not enough even when it is idle.
    """
    gibibytes = max(int(psutil.virtual_memory().total / GIB) - KEPT_GIB, 1)
    wanted = min(-(-limits.needed_bytes // GIB), gibibytes)  # one that needs all of a small machine has it alone
    with (
        several("accelerator", accelerators(cell.device.kind), cell.device.accelerators) as ids,
        several("memory", [str(number) for number in range(gibibytes)], wanted),
    ):
        yield ids


@contextmanager
def several(kind: str, ids: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    """Hold `count` of the things of a kind, whichever are free first; all together, or wait."""
    if count == 0:
        yield ()
        return
    if count > len(ids):
        raise Infrastructure(
            f"the cell needs {count} of this machine's {kind}s, it has {len(ids)}: use a larger one"
            f" (or set {ACCELERATORS})"
        )
    folder = cache.root() / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        held: list[str] = []
        with FileLock(folder / f"{kind}.queue"):
            while len(held) < count:
                for name in ids:
                    if name not in held and len(held) < count and _taken(stack, str(folder / f"{kind}-{name}.lock")):
                        held.append(name)
                if len(held) < count:
                    time.sleep(POLL_S)
        yield tuple(held)


def _taken(stack: ExitStack, path: str) -> bool:
    lock = FileLock(path, timeout=0)
    try:
        stack.enter_context(lock)
    except Timeout:
        return False
    return True


def accelerators(kind: str) -> list[str]:
    """Ids of the accelerators that cells may use: as READINESS_ACCELERATORS says, else those of the vendor's tool."""
    given = os.environ.get(ACCELERATORS, os.environ.get("CUDA_VISIBLE_DEVICES") if kind == "cuda" else None)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    if kind == "rocm":
        return [str(number) for number in range(_amd_accelerators())]
    return [line.strip() for line in nvidia_smi("--query-gpu=index", "--format=csv,noheader").splitlines()]


def _amd_accelerators() -> int:
    """Render nodes of AMD's driver; one a device."""
    return len([name for name in (os.listdir("/dev/dri") if os.path.isdir("/dev/dri") else ()) if "render" in name])


def nvidia_smi(*arguments: str) -> str:
    """What NVIDIA's tool says; nothing where there is none, or no device.

    Infrastructure where it hangs: then nobody knows what the devices do.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        done = subprocess.run((tool, *arguments), capture_output=True, text=True, check=False, timeout=SMI_DEADLINE_S)
    except subprocess.TimeoutExpired:
        raise Infrastructure(f"nvidia-smi has not answered within {SMI_DEADLINE_S:.0f} s") from None
    return done.stdout.strip() if done.returncode == 0 else ""
