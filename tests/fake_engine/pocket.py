"""A language model small enough for a test: what follows a token depends on it and, by a memory, on all before it.

The memory is a linear recurrence, m_t = DECAY m_(t-1) + E[id_t], so it can be kept after any prefix and gone on from,
as a KV cache or a recurrent state can. Noise imitates rounding: added to the logits, of one size for everyone, and
another draw for every seed and every way of computing. A run is repeatable: the draw depends on the seed, the way and
the token ids alone. Standalone: the fake engine imports it without this project.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

VOCABULARY = 300
EOS = 0
SPREAD = 4.0
"""Standard deviation of the logits: beyond sqrt(2 ln 300), so that few ids hold most of the probability."""

REMEMBERED = 2.0
"""Standard deviation of the part of a logit that the memory decides."""

WIDTH = 16
"""Of the memory."""

DECAY = 0.995
"""Half of what a token has left in the memory is gone 138 tokens later."""

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


@functools.cache
def _embedding(model: int) -> Floats:
    """[V, WIDTH], scaled so that a long text's memory has a variance of one."""
    return np.random.default_rng([model, 1]).normal(0.0, (1 - DECAY**2) ** 0.5, (VOCABULARY, WIDTH))


@functools.cache
def _reading(model: int) -> Floats:
    """[WIDTH, V]"""
    return np.random.default_rng([model, 2]).normal(0.0, REMEMBERED / WIDTH**0.5, (WIDTH, VOCABULARY))


def remember(token_ids: Sequence[int], *, model: int = THIS_MODEL, memory: Floats | None = None) -> Floats:
    """[n, WIDTH]: the memory after each token, gone on from what it was before them."""
    last = np.zeros(WIDTH) if memory is None else memory
    after = np.empty((len(token_ids), WIDTH))
    for row, embedded in enumerate(_embedding(model)[np.asarray(token_ids, np.int64)]):
        last = after[row] = DECAY * last + embedded
    return after


def logits(token_ids: Sequence[int], memories: Floats, *, model: int = THIS_MODEL) -> Floats:
    """[n, V]: row i is what follows token i, given the memory after it."""
    return np.asarray(logits_after(model)[np.asarray(token_ids)] + memories @ _reading(model))


def log_softmax(values: Floats) -> Floats:
    """Natural logarithms of probabilities along the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def noise(seed: int | None, token_ids: Sequence[int], rows: int, way: int = 0) -> Floats:
    """[rows, V]: another draw for each way of computing the same; none without a seed."""
    if seed is None:
        return np.zeros((rows, VOCABULARY))
    key = zlib.crc32(np.asarray(token_ids, np.int32).tobytes())
    return np.random.default_rng([seed, key, way]).normal(0.0, NOISE, (rows, VOCABULARY))


def logprobs(token_ids: Sequence[int], *, model: int = THIS_MODEL, seed: int | None = None) -> Floats:
    """[n, V]: row i is what follows token i; `seed` None is exact."""
    values = logits(token_ids, remember(token_ids, model=model), model=model)
    return log_softmax(values + noise(seed, token_ids, len(token_ids)))


def sample(random: np.random.Generator, length: int) -> list[int]:
    """A text of the model's own: ids drawn as it predicts them, never EOS."""
    ids = [int(random.integers(1, VOCABULARY))]
    memory = remember(ids)[-1]
    while len(ids) < length:
        predicted = np.exp(log_softmax(logits(ids[-1:], memory[None])))[0]
        drawn = int(random.choice(VOCABULARY, p=predicted))
        if drawn != EOS:
            ids.append(drawn)
            memory = remember([drawn], memory=memory)[-1]
    return ids
