"""Synthetic logits: peaked distributions over 500 ids, with noise added."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from probes import noise_floor as nf

Array = NDArray[np.float64]
Judge = Callable[[nf.TokenLogprobs], nf.RatioVerdict]
VOCABULARY = 500
LISTED = 32
NOISE = 0.04


class World:
    """A reference's logits [S, N, V], their target ids, and noise with its own size at each position."""

    def __init__(self, seed: int, sequences: int = 32, columns: int = 127) -> None:
        self.random = np.random.default_rng(seed)
        shape = (sequences, columns)
        # Real positions range from certain to undecided, and rounding hits some sequences harder than others.
        peak = self.random.uniform(1.0, 5.0, (*shape, 1))
        self.logits: Array = self.random.standard_normal((*shape, VOCABULARY)) * peak
        size = NOISE * np.exp(0.4 * self.random.standard_normal((*shape, 1)))
        self.size: Array = size * np.exp(0.2 * self.random.standard_normal((sequences, 1, 1)))
        gumbel = self.random.gumbel(size=self.logits.shape)
        self.targets = np.asarray((self.logits + gumbel).argmax(axis=-1))
        self.reference = self.run(self.logits, LISTED)

    def noisy(self, times: float = 1.0) -> Array:
        """Logits with fresh noise, `times` as large in divergence."""
        return np.asarray(self.logits + np.sqrt(times) * self.size * self.random.standard_normal(self.logits.shape))

    def run(self, logits: Array, listed: int = 20) -> nf.TokenLogprobs:
        logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        top = np.argsort(-logs, axis=-1)[..., :listed] if listed else np.zeros((*logs.shape[:2], 0), int)
        targets = np.take_along_axis(logs, self.targets[..., None], axis=-1)[..., 0]
        return nf.TokenLogprobs(
            target_logprobs=targets.astype(np.float32),
            top_ids=top.astype(np.int32),
            top_logprobs=np.take_along_axis(logs, top, axis=-1).astype(np.float32),
        )

    def replicates(self, count: int = 5) -> dict[str, nf.TokenLogprobs]:
        return {f"noise-{place}": self.run(self.noisy(), LISTED) for place in range(count)}


def shifted(world: World) -> Array:
    return np.roll(world.noisy(), 1, axis=1)
