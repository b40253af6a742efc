"""What a stopped run needs to go on: the state of all passes behind the last layer that all of them have left.

Only for passes that carry nothing but hidden states from layer to layer. A pass that also carries a cache, or anything
else that a layer may write into, is not written down, and starts anew.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch


class Notebook:
    """State of the passes of one replicate in one file; one that cannot be read counts as none.

    It is written at most once in `every_s` seconds: writing takes time from reading.
    """

    def __init__(self, path: Path, every_s: float) -> None:
        self.path, self.every_s = path, every_s
        self._passed: list[str] = []
        self._outputs: dict[int, Any] = {}
        self._known: tuple[frozenset[str], dict[int, Any]] = frozenset(), {}
        self._usable = True
        self._written = time.monotonic()
        if path.is_file():
            self._load()

    def _load(self) -> None:
        try:
            state = torch.load(self.path, weights_only=True)
            self._passed = list(state["passed"])
            self._known = frozenset(self._passed), dict(state["outputs"])
        except Exception:  # torch raises whatever the damage leads to; a lost notebook costs time, nothing else
            self._passed = []

    def knows(self, layer: str) -> bool:
        """Whether this layer was passed before the stop."""
        return layer in self._known[0]

    def recall(self, layer: str, number: int) -> Any:
        """What pass `number` had behind a layer that was passed before the stop; None where it has to be computed."""
        return self._known[1].get(number) if self.knows(layer) else None

    def keep(self, layer: str, number: int, output: Any, kwargs: dict[str, Any]) -> None:
        """Note what a pass has behind this layer."""
        plain = isinstance(output, torch.Tensor) or (
            isinstance(output, tuple) and all(isinstance(part, torch.Tensor) for part in output)
        )
        shared = any(isinstance(value, dict | list) or hasattr(value, "update") for value in kwargs.values())
        self._usable = self._usable and plain and not shared
        self._outputs[number] = output
        if layer not in self._passed[-1:]:
            self._passed.append(layer)

    def turn(self) -> None:
        """All passes stand behind the layer that was kept last: write that down if it is time."""
        if self._usable and self._outputs and time.monotonic() - self._written >= self.every_s:
            temporary = self.path.with_name(f".{self.path.name}")
            torch.save({"passed": self._passed, "outputs": self._outputs}, temporary)
            os.replace(temporary, self.path)
            self._written = time.monotonic()

    def close(self) -> None:
        """The replicate is done: nothing to go on from."""
        self.path.unlink(missing_ok=True)
