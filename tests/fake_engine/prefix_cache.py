"""The fake engine's prefix cache: the pocket model's memory after whole blocks of prompts. Standalone, as serve.py is.

A block is known by all tokens up to its end; that is what makes a hit right. Least recently used blocks go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

BLOCK = 16
CAPACITY = 512
"""Blocks, of all namespaces together: 8192 tokens."""


class PrefixCache:
    """Memories by prefix. `faults` may name "stale-block" and "chunk-start-state"."""

    def __init__(self, faults: set[str]) -> None:
        self._stale = "stale-block" in faults
        self._early = "chunk-start-state" in faults
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], Any] = OrderedDict()
        self._lock = threading.Lock()

    def longest(self, ids: list[int], namespace: str) -> tuple[int, Any]:
        """How many tokens of a prompt are cached, never all of them, and the memory after those; (0, None) for none."""
        with self._lock:
            length, memories = 0, [None]
            for end in range(BLOCK, len(ids), BLOCK):
                key = self._key(ids, end, namespace)
                if key not in self._kept:
                    break
                self._kept.move_to_end(key)
                length, memories = end, [*memories, self._kept[key]]
        # The state of the last block's beginning, as one that was saved a chunk too early would be.
        return length, memories[-2] if self._early and length else memories[-1]

    def keep(self, ids: list[int], memories: Any, first: int, namespace: str) -> None:
        """The memories [n, WIDTH] after tokens `first`, `first + 1`, … of a sequence, where a block ends there."""
        with self._lock:
            for offset, memory in enumerate(memories):
                end = first + offset + 1
                if end % BLOCK == 0:
                    self._kept[self._key(ids, end, namespace)] = memory
            while len(self._kept) > CAPACITY:
                self._kept.popitem(last=False)

    def _key(self, ids: list[int], end: int, namespace: str) -> tuple[str, tuple[int, ...]]:
        # Known by its first token and what comes before it, a block also answers for one that goes on otherwise.
        return namespace, tuple(ids[: end - BLOCK + 1 if self._stale else end])
