"""Tensors from disk into memory that is used again and again.

Not mapped: a mapped file's pages come in one fault at a time and count as the reader's memory. Not allocated anew
either: on a CPU, having the kernel clear fresh pages takes several times as long as converting into old ones.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from typing import Any

import torch

from .checkpoint import Stored
from .errors import InputError

CHUNK_BYTES = 1 << 22
"""Read, looked at and converted while it is in the processor's cache."""

SMALL = 1 << 16
"""Elements up to which memory is not worth keeping."""


class Reader:
    """Reads stored tensors in a given dtype; for one thread at a time."""

    def __init__(self) -> None:
        self.bytes, self.seconds = 0, 0.0
        """Of what was read, and spent on reading, looking at it and converting it."""
        self._raw = torch.empty(CHUNK_BYTES, dtype=torch.uint8)
        self._free: dict[tuple[int, Any], list[Any]] = {}

    def read(self, tensor: Stored, dtype: Any) -> Any:
        """The whole tensor, floating-point ones as `dtype`; InputError names the shard if it is damaged."""
        started = time.monotonic()
        kept = dtype if tensor.dtype.is_floating_point and tensor.dtype.itemsize > 1 else tensor.dtype
        flat = self._memory(math.prod(tensor.shape), kept)
        with tensor.shard.open("rb", buffering=0) as stream:
            step = CHUNK_BYTES // tensor.dtype.itemsize
            for first in range(0, len(flat), step):
                target = flat[first : first + step]
                start = tensor.start + first * tensor.dtype.itemsize
                target.copy_(self._chunk(stream.fileno(), tensor, start, len(target)))
        self.bytes += tensor.size
        self.seconds += time.monotonic() - started
        return flat.view(tensor.shape)

    def give_back(self, tensors: Iterable[Any]) -> None:
        """Memory of tensors that nobody looks at any more."""
        for tensor in tensors:
            if tensor.numel() > SMALL:
                self._free.setdefault((tensor.numel(), tensor.dtype), []).append(tensor.view(-1))

    def _memory(self, count: int, dtype: Any) -> Any:
        free = self._free.get((count, dtype))
        return free.pop() if free else torch.empty(count, dtype=dtype)

    def _chunk(self, file: int, tensor: Stored, start: int, count: int) -> Any:
        size, done = count * tensor.dtype.itemsize, 0
        view = memoryview(self._raw.numpy())[:size]
        while done < size:
            got = os.preadv(file, [view[done:]], start + done)
            if got == 0:
                raise InputError(f"{tensor.shard.name} is damaged: it ends within {tensor.name}")
            done += got
        values = self._raw[:size].view(tensor.dtype)
        if tensor.dtype.is_floating_point and tensor.dtype.itemsize > 1 and not _finite(values):
            raise InputError(f"{tensor.shard.name} is damaged: {tensor.name} holds numbers that are not finite")
        return values


def _finite(values: Any) -> bool:
    """Whether all are; their extremes tell, since NaN is propagated, and are the cheapest look at every one."""
    return len(values) == 0 or all(math.isfinite(float(extreme)) for extreme in values.aminmax())
