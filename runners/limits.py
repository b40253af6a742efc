"""How much of the machine an engine's container may take, from what it has to load."""

from __future__ import annotations

import psutil

from matrix.cells import Cell, Record
from matrix.errors import Infrastructure

GIB = 2**30

BASE_BYTES = 8 * GIB
"""An engine without weights: interpreter, libraries, kernels being compiled, the KV cache that its file asks for,
and for seconds the program that measures the device beside it."""

PER_WEIGHT_BYTE = 2.0
"""Weights while they are converted and packed: the old and the new form for a moment side by side."""

PER_ACCELERATOR_BYTES = 16 * GIB
"""Pinned buffers and the host side of one accelerator's process."""

ROOM = 1.25
"""How far above the computed need the limit is set: what exceeds it needs more than computed."""

SHM_BYTES = 1 * GIB
SHM_PER_ACCELERATOR_BYTES = 8 * GIB
"""Tensor parallel ranks exchange through shared memory."""

PROCESSES = 2048
PROCESSES_PER_ACCELERATOR = 4096
"""Threads count too: compilers, tokenizers, thread pools of every rank."""


class Limits(Record, frozen=True, kw_only=True):
    """What a container may take, in bytes and processes (threads count as such)."""

    needed_bytes: int
    """Memory that was computed to suffice."""
    memory_bytes: int
    shm_bytes: int
    processes: int


def limits(cell: Cell, weights_bytes: int) -> Limits:
    """The limits of a cell's container on this machine; raises Infrastructure where its memory falls short."""
    accelerators = cell.device.accelerators
    needed = BASE_BYTES + int(PER_WEIGHT_BYTE * weights_bytes) + accelerators * PER_ACCELERATOR_BYTES
    total = psutil.virtual_memory().total
    if needed > total:
        raise Infrastructure(
            f"the cell needs {needed / GIB:.1f} GiB of memory, this machine has {total / GIB:.1f}: use a larger one"
        )
    return Limits(
        needed_bytes=needed,
        memory_bytes=min(int(needed * ROOM), total),
        shm_bytes=SHM_BYTES + accelerators * SHM_PER_ACCELERATOR_BYTES,
        processes=PROCESSES + accelerators * PROCESSES_PER_ACCELERATOR,
    )
