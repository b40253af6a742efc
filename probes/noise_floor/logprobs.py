"""What one run says of given tokens: the record, how it is read and cut, and what can be seen in it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from probes.noise_floor.limits import UNUSABLE

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Flags = NDArray[np.bool_]


class TokenLogprobs(msgspec.Struct, frozen=True, kw_only=True):
    """What one run says of given tokens."""

    target_logprobs: Floats
    """[S, N], NaN where there is no token."""
    top_ids: Ints
    """[S, N, K], -1 where nothing is listed; K may be 0."""
    top_logprobs: Floats
    """[S, N, K], of top_ids; the order does not matter."""

    def __post_init__(self) -> None:
        shape = self.target_logprobs.shape
        if len(shape) != 2 or self.top_ids.shape[:2] != shape or self.top_ids.shape != self.top_logprobs.shape:
            raise ValueError(f"targets {shape}, ids {self.top_ids.shape} and logprobs {self.top_logprobs.shape} differ")


def runs(arrays: Mapping[str, NDArray[Any]]) -> dict[str, TokenLogprobs]:
    """Every run in the arrays that probes/reference/program writes, by name."""
    suffix = "/target_logprobs"
    return {
        name: TokenLogprobs(
            target_logprobs=arrays[name + suffix],
            top_ids=arrays[f"{name}/top_ids"],
            top_logprobs=arrays[f"{name}/top_logprobs"],
        )
        for name in (key.removesuffix(suffix) for key in arrays if key.endswith(suffix))
    }


def family(arrays: Mapping[str, NDArray[Any]]) -> tuple[TokenLogprobs, dict[str, TokenLogprobs]]:
    """The reference and its replicates; ValueError where no array is called reference/target_logprobs."""
    found = runs(arrays)
    if "reference" not in found:
        raise ValueError("no array reference/target_logprobs: not the output of the reference program")
    return found.pop("reference"), found


def rows(run: TokenLogprobs, which: slice | Ints) -> TokenLogprobs:
    """Some of the sequences."""
    return TokenLogprobs(
        target_logprobs=run.target_logprobs[which],
        top_ids=run.top_ids[which],
        top_logprobs=run.top_logprobs[which],
    )


def restrict(reference: TokenLogprobs, keep: Flags) -> TokenLogprobs:
    """The reference with only the positions in `keep` [S, N]: a stratum, or what follows a prompt."""
    targets = np.where(keep, reference.target_logprobs, np.nan)
    return msgspec.structs.replace(reference, target_logprobs=targets)


def first_seen(token_ids: Ints, reference: TokenLogprobs) -> Flags:
    """[S, N]: valid positions whose context, token_ids[s, :n + 1], is that of no valid position of an earlier sequence.

    token_ids: [S, N + 1] of the sequences that are judged together. After the same tokens a model says the same: chats
    of one template begin alike, and what an engine makes of that beginning is one event, whoever shares it.
    """
    valid, seen = valid_positions(reference), set[bytes]()
    first = np.zeros_like(valid)
    for row, column in np.argwhere(valid):
        context = token_ids[row, : column + 1].tobytes()
        first[row, column] = context not in seen
        seen.add(context)
    return first


def valid_positions(reference: TokenLogprobs) -> Flags:
    """[S, N]: neither padding nor left out by `restrict`."""
    return np.asarray(~np.isnan(reference.target_logprobs))


def counted_part(reference: TokenLogprobs, counted: Flags | None) -> tuple[TokenLogprobs, Ints]:
    """The reference where it counts, and the numbers of the sequences that have such a position: others are left out.

    counted: [S, N], as `first_seen` gives it; None: every valid position counts.
    """
    if counted is not None:
        reference = restrict(reference, counted)
    numbers = np.flatnonzero(valid_positions(reference).any(axis=1))
    return rows(reference, numbers), numbers


def listed_count(run: TokenLogprobs) -> Ints:
    """[S, N]: how many ids the run lists at each position."""
    return np.asarray((run.top_ids >= 0).sum(axis=-1))


def check_same_shape(reference: TokenLogprobs, other: TokenLogprobs) -> None:
    """ValueError where two runs are not about the same tokens."""
    if other.target_logprobs.shape != reference.target_logprobs.shape:
        shapes = other.target_logprobs.shape, reference.target_logprobs.shape
        raise ValueError(f"{shapes[0]} positions against the reference's {shapes[1]}")


def nonfinite(reference: TokenLogprobs, candidate: TokenLogprobs) -> Flags:
    """[S, N]: valid positions where the candidate gives NaN, an infinity or -9999, in target or list."""
    check_same_shape(reference, candidate)
    bad = _not_a_logprob(candidate.target_logprobs)
    bad = bad | (_not_a_logprob(candidate.top_logprobs) & (candidate.top_ids >= 0)).any(axis=-1)
    return np.asarray(bad & valid_positions(reference))


def _not_a_logprob(values: Floats) -> Flags:
    return np.asarray(~np.isfinite(values) | (values <= UNUSABLE))


def in_range(logs: Floats) -> Floats:
    """Logprobs kept from spreading infinities: what is not a logprob is counted elsewhere, by `nonfinite`."""
    return np.clip(logs, UNUSABLE, -UNUSABLE / 100)


def most_likely(run: TokenLogprobs, depth: Ints) -> tuple[Ints, Floats, Flags]:
    """Ids and logprobs [S, N, max depth], descending, and which of them lie within their position's depth."""
    usable = (run.top_ids >= 0) & ~np.isnan(run.top_logprobs)
    values = np.where(usable, run.top_logprobs, -np.inf).astype(np.float64)
    width = int(depth.max(initial=0))
    order = np.argsort(-values, axis=-1, kind="stable")[..., :width]
    inside = np.arange(width) < depth[..., None]
    logs = np.take_along_axis(values, order, axis=-1)
    return np.take_along_axis(run.top_ids, order, axis=-1), in_range(logs), inside


def look_up(ids: Ints, listed: Ints, logs: Floats, inside: Flags) -> tuple[Floats, Flags]:
    """Logprob of each id [S, N, k] in a run's list, as `most_likely` gives it, and which ids it lists.

    An id that is not listed is given the least listed logprob: it has that at most.
    """
    least = np.where(inside, logs, np.inf).min(axis=-1, keepdims=True, initial=np.inf)
    values, found = np.broadcast_to(least, ids.shape).copy(), np.zeros(ids.shape, bool)
    for rank in range(listed.shape[-1]):
        here = (ids == listed[..., rank, None]) & inside[..., rank, None] & ~found
        values = np.where(here, logs[..., rank, None], values)
        found |= here
    return values, found


def top_margin(reference: TokenLogprobs) -> Floats:
    """[S, N]: ln p of the most likely id less that of the next; nought where fewer than two are listed."""
    if reference.top_ids.shape[-1] < 2:
        return np.zeros(reference.target_logprobs.shape)
    _, logs, inside = most_likely(reference, np.minimum(listed_count(reference), 2))
    return np.asarray(np.where(inside.all(axis=-1), logs[..., 0] - logs[..., -1], 0.0))
