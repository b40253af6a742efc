"""Which sequences are judged together: sets of one run, each a unit of its own."""

from __future__ import annotations

import numpy as np

SIZES = (16, 32, 64)
DRAWS = {16: 40, 32: 20, 64: 10}
"""Sets drawn from a faulty run, by size."""
SEED = 20260101

Rows = tuple[int, ...]


def disjoint(count: int, size: int) -> list[Rows]:
    """Sets one after the other, none of which shares a sequence with another; what is left over is left out."""
    return [tuple(range(start, start + size)) for start in range(0, count - size + 1, size)]


def drawn(count: int, size: int, draws: int | None = None) -> list[Rows]:
    """Distinct sets drawn at random, the sequences of each without replacement; the same ones at every call.

    Where there are no more sequences than a set takes, there is one set.
    """
    if size >= count:
        return [tuple(range(count))] if size == count else []
    random = np.random.default_rng((SEED, count, size))
    found: set[Rows] = set()
    wanted = draws or DRAWS.get(size, 10)
    for _ in range(10 * wanted):  # a set that came before is drawn again; with few sequences there may be no more
        if len(found) == wanted:
            break
        found.add(tuple(sorted(random.choice(count, size, replace=False).tolist())))
    return sorted(found)


def looks(count: int, first: int) -> list[tuple[Rows, Rows, Rows]]:
    """Every first look of a run with the two that follow it while it is undecided: once and twice doubled.

    A look goes on with the next sequences, and behind the last with the first ones.
    """
    if count < 4 * first:
        return []
    return [
        tuple(tuple((start + i) % count for i in range(times * first)) for times in (1, 2, 4))  # type: ignore[misc]  # mypy infers no type of a generic lambda or a varying tuple
        for start in range(0, count - first + 1, first)
    ]
