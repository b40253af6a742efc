"""REF-SUSPECT: engines that share no code agree with each other against the reference, so the reference may be wrong.

Two engines of different lineage do not make the same mistake by chance. Engines that share code may, and those that
run the reference's own modelling code say nothing about it: neither are witnesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import msgspec
import numpy as np

from probes.noise_floor.divergence import token_difference, token_kl
from probes.noise_floor.limits import FAIL_ALPHA, FAIL_FACTOR, PASS_ALPHA, RATIO_GOOD
from probes.noise_floor.logprobs import (
    Flags,
    Floats,
    Ints,
    TokenLogprobs,
    counted_part,
    listed_count,
    nonfinite,
    restrict,
    rows,
    valid_positions,
)
from probes.noise_floor.noise import log_ratio, measure_noise, noise_quantile, run_statistics, sequence_scores
from probes.noise_floor.ratio import check_family, estimate, find_obstacle, judge_ratio
from probes.noise_floor.sides import rate_excess
from probes.noise_floor.verdicts import Estimate

REFERENCE_LINEAGE = "transformers"
"""Whose modelling code the reference runs."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How near two engines are to each other."""

    times: Estimate
    """T_ab, in units of the noise between two replicates."""
    strays: float
    """p-value that no more tokens set the two apart than noise g times as large would; a mean does not see them."""

    def within(self, good: float) -> bool:
        """True where they agree: an equivalence claim, which too little data cannot make."""
        return self.times.high_pass <= good and self.strays >= PASS_ALPHA


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """Engines that agree across lineages while each differs from the reference."""

    engines: tuple[str, ...]
    """Each of them agrees with at least one of another lineage."""
    smallest: float
    largest: float
    """T_ab of those that agree."""


def differs(
    reference: TokenLogprobs,
    replicates: Mapping[str, TokenLogprobs],
    engine: TokenLogprobs,
    *,
    counted: Flags | None = None,
    k: int | None = None,
) -> bool:
    """Whether the ratio test accuses the engine on these very tokens; `counted` as there.

    An engine may be accused for what it generated, or for another stratum: that it agrees with others where all of
    them are right says nothing about the reference.
    """
    return judge_ratio(reference, replicates, engine, counted=counted, k=k).decision in ("FAIL", "DEGRADED")


def agreement(
    reference: TokenLogprobs,
    replicates: Mapping[str, TokenLogprobs],
    one: TokenLogprobs,
    other: TokenLogprobs,
    *,
    counted: Flags | None = None,
    k: int | None = None,
) -> Agreement | None:
    """T_ab: the geometric mean over sequences of the engines' score against each other over that of two replicates.

    The unit is the noise of *pairs*. Two runs that both carry rounding noise differ from each other by more than one
    of them differs from the exact reference (twice as much in K, where their roundings are independent): by the
    reference's own unit two healthy engines would lie at 2 and never agree.

    The score is the mean K of both directions, winsorised at the 99.9% quantile of the pairs of replicates; where the
    engines list nothing but targets, the mean |difference| of those. The reference is asked only where its padding is.

    None where an engine gives a number that is none, and where no ratio can be formed.
    Raises ValueError as `judge_ratio` does.
    """
    if nonfinite(reference, one).any() or nonfinite(reference, other).any():
        return None
    check_family(reference, replicates)
    reference, numbers = counted_part(reference, counted)
    one, other = rows(one, numbers), rows(other, numbers)
    replicates = {name: rows(run, numbers) for name, run in replicates.items()}
    depth = _depth(reference, (one, other), k)
    noise = measure_noise(reference, replicates, depth)
    if find_obstacle(run_statistics(reference, one, depth), noise):
        return None
    kept = [run for name, run in replicates.items() if name not in (*noise.repeated, *noise.dropped)]
    apart = _apart(reference, one, other, depth)
    pairs = [_apart(reference, first, second, depth) for first, second in combinations(kept, 2)]
    cap = noise_quantile(pairs)
    # Unweighted: pairs share runs, so none of them could be weighted by others that had no part in it.
    usual = np.mean([sequence_scores(pair, cap) for pair in pairs], axis=0)
    logs = log_ratio(sequence_scores(apart, cap), usual)
    times = estimate(logs, PASS_ALPHA, FAIL_ALPHA)
    # K follows the square of a difference of logprobs.
    return Agreement(times=times, strays=_strays(apart, pairs, cap, power=1.0 if depth.any() else 0.5))


def _depth(reference: TokenLogprobs, engines: Iterable[TokenLogprobs], k: int | None) -> Ints:
    """[S, N]: ids to compare, as many as all of them list; 0 at padding."""
    depth = listed_count(reference)
    for engine in engines:
        depth = np.minimum(depth, listed_count(engine))
    return np.where(valid_positions(reference), depth if k is None else np.minimum(depth, k), 0)


def _apart(reference: TokenLogprobs, one: TokenLogprobs, other: TokenLogprobs, depth: Ints) -> Floats:
    """[S, N]: how far two runs are from each other, NaN at the reference's padding."""
    one, other = (restrict(run, valid_positions(reference)) for run in (one, other))
    if not depth.any():
        return np.asarray(abs(token_difference(one, other)))
    # A negative K is rounding, or the bound on an unlisted id; neither brings two runs nearer than equal.
    both = [np.maximum(token_kl(p, q, depth).kl, 0.0) for p, q in ((one, other), (other, one))]
    return np.asarray(np.mean(both, axis=0))


def _strays(apart: Floats, pairs: list[Floats], cap: float, *, power: float) -> float:
    """p-value against noise g times as large, of tokens beyond its 99.9% quantile or F times that, whichever is less.

    Two engines that are each wrong at tokens of their own hardly move a mean, and must not clear each other.
    """
    values, valid = np.nan_to_num(apart, nan=0.0), ~np.isnan(apart)

    def p_value(limit: float) -> float:
        noise = [np.asarray(np.nan_to_num(pair, nan=0.0) > limit / RATIO_GOOD**power) for pair in pairs]
        return rate_excess(np.asarray(values > limit), noise, valid)

    gross = cap * (FAIL_FACTOR * RATIO_GOOD) ** power
    return min(1.0, 2 * min(p_value(cap), p_value(gross)))  # two looks (Bonferroni)


# --- the decision -----------------------------------------------------------------------------------------


def independent(one: str, other: str) -> bool:
    """Whether engines of these lineages can bear each other out against the reference."""
    return one != other and REFERENCE_LINEAGE not in (one, other)


def suspects(
    lineages: Mapping[str, str], agreements: Mapping[tuple[str, str], Agreement], *, good: float = RATIO_GOOD
) -> tuple[Suspicion, ...]:
    """The groups of accused engines in which at least two lineages, neither of them the reference's, agree.

    `lineages`: of every engine that the reference accuses, by its name; `agreements`: of their pairs, as far as there
    are any. An engine joins a group by agreeing with one of another lineage, never through one of its own.
    """
    links = {
        pair: found.times.value
        for pair, found in agreements.items()
        if independent(lineages[pair[0]], lineages[pair[1]]) and found.within(good)
    }
    groups: list[set[str]] = []
    for pair in links:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return tuple(sorted((_suspicion(group, links) for group in groups), key=lambda found: found.engines))


def _suspicion(group: set[str], links: Mapping[tuple[str, str], float]) -> Suspicion:
    times = [value for pair, value in links.items() if pair[0] in group]
    return Suspicion(engines=tuple(sorted(group)), smallest=min(times), largest=max(times))
