"""The model's own rounding noise: what the replicates show, which of them count, and scores in units of it.

The noise is measured under the candidate's coarsening, so that both sides carry the same error. Scores are
winsorised means over the tokens of a sequence: no one token rules a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from probes.noise_floor.divergence import flips, token_difference, token_kl
from probes.noise_floor.limits import (
    MIN_REPLICATES,
    NOISE_QUANTILE,
    NOISE_RESOLUTION,
    REPLICATE_SPREAD,
    SAME_SHARE,
    SCORE_FLOOR,
)
from probes.noise_floor.logprobs import Flags, Floats, Ints, TokenLogprobs, nonfinite, restrict, valid_positions


class Run(NamedTuple):
    """Token statistics of one run, each [S, N]; padding is False or NaN."""

    kl: Floats
    difference: Floats
    miss: Flags
    flip: Flags


class Noise(NamedTuple):
    """The replicates that agree, under the candidate's coarsening."""

    runs: list[Run]
    c: float
    """99.9% quantile of their divergences, nats."""
    tau: float
    """99.9% quantile of their |difference| of target logprobs, nats."""
    repeated: tuple[str, ...]
    dropped: tuple[str, ...]


def run_statistics(reference: TokenLogprobs, run: TokenLogprobs, depth: Ints) -> Run:
    """Token statistics of a run against the reference, `depth` [S, N] ids compared at a position at most."""
    divergence = token_kl(reference, run, depth)
    # A negative K is rounding, or the bound on an unlisted id; neither brings an engine nearer than exact.
    return Run(
        np.maximum(divergence.kl, 0.0),
        token_difference(reference, run),
        divergence.miss,
        flips(reference, run) & (depth > 0),
    )


def measure_noise(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], depth: Ints) -> Noise:
    """The noise that the replicates show, without copies of one another and without those that disagree.

    Raises ValueError where a replicate is not finite: it is ours, not the engine's.
    """
    for name, replicate in replicates.items():
        if nonfinite(reference, replicate).any():
            raise ValueError(f"replicate {name} is not finite: no verdict can rest on it")
    repeated = _repeated(reference, replicates)
    runs = {name: run_statistics(reference, run, depth) for name, run in replicates.items() if name not in repeated}
    dropped = _disagreeing({name: run.kl for name, run in runs.items()})
    kept = [run for name, run in runs.items() if name not in dropped]
    c, tau = noise_quantile([run.kl for run in kept]), noise_quantile([abs(run.difference) for run in kept])
    return Noise(kept, c, tau, repeated, dropped)


def measure_pairs(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], depth: Ints) -> Noise:
    """How far two healthy runs lie apart: each replicate against the next, where the reference itself is left out.

    Which replicates count is decided as in `measure_noise`; fewer than three of them give no pair.
    """
    alone = measure_noise(reference, replicates, depth)
    left_out = {*alone.repeated, *alone.dropped}
    valid = valid_positions(reference)
    kept = [restrict(run, valid) for name, run in replicates.items() if name not in left_out]
    if len(kept) < MIN_REPLICATES:
        return alone._replace(runs=[])
    runs = [run_statistics(one, other, depth) for one, other in zip(kept, [*kept[1:], kept[0]], strict=True)]
    c, tau = noise_quantile([run.kl for run in runs]), noise_quantile([abs(run.difference) for run in runs])
    return alone._replace(runs=runs, c=c, tau=tau)


def _repeated(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs]) -> tuple[str, ...]:
    """Replicates that equal an earlier one: five copies of one run are one observation of the noise."""
    valid = valid_positions(reference)
    kept: list[Floats] = []
    repeated: list[str] = []
    for name, run in replicates.items():
        targets = run.target_logprobs[valid]
        if any((targets == other).mean() > SAME_SHARE for other in kept):
            repeated.append(name)
        else:
            kept.append(targets)
    return tuple(repeated)


def _disagreeing(kl: Mapping[str, Floats]) -> tuple[str, ...]:
    """Replicates whose score is more than twice, or less than half, the median replicate's.

    Medians, since one wild replicate would make every other one look small against a mean that it rules.
    """
    if len(kl) < MIN_REPLICATES:
        return ()
    cap = float(np.median([noise_quantile([values]) for values in kl.values()]))
    scores = np.array([sequence_scores(values, cap) for values in kl.values()])
    middle = np.median(scores, axis=0)
    spread = [float(np.exp(log_ratio(own, middle).mean())) for own in scores]
    return tuple(
        name for name, times in zip(kl, spread, strict=True) if not 1 / REPLICATE_SPREAD <= times <= REPLICATE_SPREAD
    )


def noise_quantile(values: Sequence[Floats]) -> float:
    """What one token in a thousand exceeds, over the valid positions of all arrays; 0 without any."""
    pooled = np.concatenate([array[~np.isnan(array)] for array in values]) if values else np.zeros(0)
    return float(np.quantile(pooled, NOISE_QUANTILE)) if pooled.size else 0.0


def noise_tau(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs]) -> float:
    """tau: the 99.9% quantile of the replicates' |difference| of target logprobs, nats."""
    return noise_quantile([abs(token_difference(reference, run)) for run in replicates.values()])


def sequence_scores(values: Floats, cap: float, weights: Floats | float = 1.0) -> Floats:
    """[S]: mean over each sequence's valid positions, winsorised at the cap so that no one token rules it."""
    return np.asarray(np.nanmean(np.minimum(values, cap) * weights, axis=1))


def weighted_log_ratio(values: Floats, noise: Sequence[Floats], cap: float) -> Floats:
    """[S]: ln of score over noise score, each token with the less weight the noisier it is.

    `values` and each of the J > 1 arrays of `noise` are [S, N], NaN at padding, winsorised at `cap`.

    A token where the noise is m has the weight M / (m + M), M the mean of m over all tokens: a few noisy tokens rule an
    unweighted mean, which makes a ratio of two of them a matter of chance. A replicate must not choose the weights by
    which it is judged itself, or it would look smaller than a candidate that had no part in it: each replicate is
    weighted by the others, and the candidate by the same J ways in turn.
    """
    weights = [_weights([other for i, other in enumerate(noise) if i != j]) for j in range(len(noise))]
    own = np.mean([sequence_scores(values, cap, weight) for weight in weights], axis=0)
    return log_ratio(
        own, np.mean([sequence_scores(item, cap, w) for item, w in zip(noise, weights, strict=True)], axis=0)
    )


def null_log_ratios(noise: Sequence[Floats], cap: float) -> Floats:
    """[J, S]: the same of each of the J > 2 replicates as if it were the candidate, against the others."""
    return np.array([weighted_log_ratio(own, [*noise[:j], *noise[j + 1 :]], cap) for j, own in enumerate(noise)])


def _weights(noise: Sequence[Floats]) -> Floats:
    """[S, N] in (0, 1]; NaN at padding."""
    level = np.mean(noise, axis=0)
    mean = max(float(np.nanmean(level)), NOISE_RESOLUTION)
    return np.asarray(mean / (level + mean))


def log_ratio(scores: Floats, noise: Floats) -> Floats:
    """[S]: ln of score over noise score, both raised to a hundredth of the mean noise score (SCORE_FLOOR)."""
    floor = max(SCORE_FLOOR * float(noise.mean()), NOISE_RESOLUTION)
    return np.asarray(np.log(np.maximum(scores, floor) / np.maximum(noise, floor)))
