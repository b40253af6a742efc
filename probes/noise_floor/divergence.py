"""How a run differs from the reference at each token: divergence, target difference, flip of the top id.

The divergence is taken on a coarsened vocabulary; that it cannot grow by coarsening is the data-processing
inequality (Kullback and Leibler 1951; Cover and Thomas, Elements of Information Theory, 2.8).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from probes.noise_floor.limits import SHARED_MASS, SUM_SLACK, TAIL_FLOOR, UNUSABLE
from probes.noise_floor.logprobs import (
    Flags,
    Floats,
    Ints,
    TokenLogprobs,
    check_same_shape,
    in_range,
    listed_count,
    look_up,
    most_likely,
    nonfinite,
    valid_positions,
)


class TokenKl(msgspec.Struct, frozen=True, kw_only=True):
    """Divergence of a candidate from the reference, by position."""

    kl: Floats
    """[S, N] nats; NaN at padding, inf where the candidate gave no finite number."""
    miss: Flags
    """[S, N]: the lists share less than half of the reference's listed mass, or the mass exceeds 1."""


def token_kl(reference: TokenLogprobs, candidate: TokenLogprobs, k: Ints | int | None = None) -> TokenKl:
    """Divergence of the candidate from the reference on the reference's k most likely ids R and one bin for the rest.

        K = sum_{v in R} p_v (ln p_v - ln q_v) + p_T (ln p_T - ln q_T)
        p_T = 1 - sum_R p_v,  q_T = 1 - sum_R q_v

    An id of R that the engine does not list has at most the least listed probability, and is given just that:
    leaving it out would let an engine whose list shares nothing with the reference's score nought. Where
    nothing is listed (k = 0) the target token alone is R. If the candidate's mass is known on all of R, K is
    the divergence of two coarsened distributions: never negative, never above the full one, never smaller for
    a larger k. With the bound in place of an unlisted id K is an estimate; the replicates go through the same
    coarsening and carry the same error.

    `k`: ids compared at each position, a number or [S, N]; by default as many as both sides list there.
    Raises ValueError if the two are not about the same tokens.
    """
    check_same_shape(reference, candidate)
    depth = np.minimum(listed_count(reference), listed_count(candidate))
    depth = depth if k is None else np.minimum(depth, k)
    ids, p_logs, inside = most_likely(reference, depth)
    q_ids, q_listed, q_inside = most_likely(candidate, depth)
    q_logs, found = look_up(ids, q_ids, q_listed, q_inside)
    p = np.where(inside, np.exp(p_logs), 0.0)
    q = np.where(inside, np.exp(q_logs), 0.0)
    p_target, q_target = _as_log(reference.target_logprobs), _as_log(candidate.target_logprobs)
    with np.errstate(invalid="ignore"):
        on_list = np.where(inside, p * (p_logs - q_logs), 0.0).sum(axis=-1) + _tail(1 - p.sum(-1), 1 - q.sum(-1))
        on_target = np.exp(p_target) * (p_target - q_target) + _tail(-np.expm1(p_target), -np.expm1(q_target))
    kl = np.where(depth > 0, on_list, on_target)
    strange = (depth > 0) & ((p * found).sum(axis=-1) < SHARED_MASS * p.sum(axis=-1))
    excess = (np.where(q_inside, np.exp(q_listed), 0.0).sum(axis=-1) > SUM_SLACK) | (q_target > math.log(SUM_SLACK))
    valid, bad = valid_positions(reference), nonfinite(reference, candidate)
    return TokenKl(kl=np.where(valid, np.where(bad, np.inf, kl), np.nan), miss=valid & (strange | excess))


def _tail(p: Floats, q: Floats) -> Floats:
    p, q = np.maximum(p, 0.0), np.maximum(q, TAIL_FLOOR)
    return np.asarray(p * (np.log(np.maximum(p, TAIL_FLOOR)) - np.log(q)))


def _as_log(values: Floats) -> Floats:
    return in_range(np.nan_to_num(values.astype(np.float64), nan=UNUSABLE))


def token_difference(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """[S, N]: ln q - ln p of the target; NaN at padding, -inf where the candidate gives no finite number."""
    bad = nonfinite(reference, candidate)
    with np.errstate(invalid="ignore"):
        difference = candidate.target_logprobs.astype(np.float64) - reference.target_logprobs
    return np.where(valid_positions(reference), np.where(bad, -np.inf, difference), np.nan)


def flips(reference: TokenLogprobs, candidate: TokenLogprobs) -> Flags:
    """[S, N]: both list something and their most likely ids differ."""
    both = (listed_count(reference) > 0) & (listed_count(candidate) > 0) & valid_positions(reference)
    if not both.any():
        return np.asarray(both)
    first, other = (most_likely(run, np.minimum(listed_count(run), 1))[0][..., 0] for run in (reference, candidate))
    return np.asarray(both & (first != other))
