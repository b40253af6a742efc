"""A language model small enough for a test: what follows a token depends on that token alone.

Noise imitates rounding: added to the logits, of one size for everyone, and another draw for every seed. A run is
repeatable, because the draw depends on the seed and on the token ids alone. Standalone: the fake engine imports it
without this project.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

VOCABULARY = 300
EOS = 0
SPREAD = 4.0
"""Standard deviation of the logits: beyond sqrt(2 ln 300), so that few ids hold most of the probability."""

NOISE = 0.02
"""Standard deviation of a logit's noise."""

THIS_MODEL = 0
OTHER_MODEL = 1

OPENING = ("The", "capital", "of", "France", "is", "the", "city")
WORDS = ("</s>", *OPENING, *(f"w{i}" for i in range(1 + len(OPENING), VOCABULARY)))
"""The text of every id."""


@functools.cache
def logits_after(model: int = THIS_MODEL) -> Floats:
    """[V, V] logits of the next id, by the id before it."""
    return np.random.default_rng(model).normal(0.0, SPREAD, (VOCABULARY, VOCABULARY))


def log_softmax(logits: Floats) -> Floats:
    """Natural logarithms of probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _noise(seed: int | None, token_ids: Sequence[int], rows: int) -> Floats:
    if seed is None:
        return np.zeros((rows, VOCABULARY))
    key = zlib.crc32(np.asarray(token_ids, np.int32).tobytes())
    return np.random.default_rng([seed, key]).normal(0.0, NOISE, (rows, VOCABULARY))


def logprobs(token_ids: Sequence[int], *, model: int = THIS_MODEL, seed: int | None = None) -> Floats:
    """[n, V]: row i is what follows token i; `seed` None is exact."""
    logits = logits_after(model)[np.asarray(token_ids)]
    return log_softmax(logits + _noise(seed, token_ids, len(token_ids)))


def generate(
    prompt: Sequence[int], count: int, *, model: int = THIS_MODEL, seed: int | None = None
) -> Iterator[Floats]:
    """[V] logprobs of `count` tokens, each following the likeliest before it."""
    last = prompt[-1]
    for noise in _noise(seed, prompt, count):
        row = log_softmax(logits_after(model)[last] + noise)
        yield row
        last = int(row.argmax())


def sample(random: np.random.Generator, length: int) -> list[int]:
    """A text of the model's own: ids drawn as it predicts them, never EOS."""
    ids = [int(random.integers(1, VOCABULARY))]
    while len(ids) < length:
        drawn = int(random.choice(VOCABULARY, p=np.exp(log_softmax(logits_after()[ids[-1]]))))
        ids += [drawn] if drawn != EOS else []
    return ids
