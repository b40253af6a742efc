"""The ratio test: how many times further from the reference than the noise an engine lies, and the rule on it.

The ratio is a geometric mean over sequences, with Student's t for its intervals: sequences are the independent
units, tokens are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy  # its parts are loaded when first used: `stats` takes a second, and most commands judge nothing

from probes.noise_floor.limits import (
    FAIL_ALPHA,
    MIN_REPLICATES,
    NOISE_RESOLUTION,
    PAIR_FLOOR,
    PASS_ALPHA,
    REPLICATE_SPREAD,
    pair_limits,
    ratio_limits,
)
from probes.noise_floor.logprobs import (
    Flags,
    Floats,
    Ints,
    TokenLogprobs,
    check_same_shape,
    counted_part,
    listed_count,
    nonfinite,
    restrict,
    rows,
    top_margin,
    valid_positions,
)
from probes.noise_floor.noise import (
    Noise,
    Run,
    measure_noise,
    measure_pairs,
    null_log_ratios,
    run_statistics,
    sequence_scores,
    weighted_log_ratio,
)
from probes.noise_floor.scale import placed
from probes.noise_floor.sides import SIDE_STATISTICS, Question, gross, hard, side_statistics
from probes.noise_floor.verdicts import Decision, Estimate, RatioVerdict, SideStatistic, first_flagged, place


def judge_ratio(
    reference: TokenLogprobs,
    replicates: Mapping[str, TokenLogprobs],
    candidate: TokenLogprobs,
    *,
    baseline: TokenLogprobs | None = None,
    counted: Flags | None = None,
    k: int | None = None,
    controls: Sequence[float] = (),
    int8_ratio: float | None = None,
    strata: int = 1,
    rungs: Mapping[str, float] | None = None,
    pass_alpha: float = PASS_ALPHA,
    fail_alpha: float = FAIL_ALPHA,
) -> RatioVerdict:
    """Judge one stratum of an engine's logprobs against the reference, in units of the replicates' noise.

    PASS       upper 99% bounds of T and T_d within g, and every side statistic within its null at 99%,
               corrected for their number. Too little data cannot pass.
    FAIL       a non-finite logprob; or the lower 99.9% bound of T or T_d beyond F; or, in excess of the
               noise's at 99.9%: misses, hard flips, tokens beyond F times the noise's 99.9% quantile, or a
               tail heavier than that of noise F times as large; or one sequence beyond F and its null.
    DEGRADED   the lower 99.9% bound of T or T_d beyond g, or a tail heavier than that of noise g times as
               large, at 99.9%.
    UNDECIDED  otherwise, and where no ratio can be formed: fewer than three distinct replicates that agree,
               one sequence, or no noise at all (a float32 checkpoint).

    baseline: what the same engine answered to the same tokens asked in another way. The candidate is then compared with
       that, in units of how far two replicates lie apart: an engine against itself, however far both are from the
       reference, of which no more than the positions is used. Its limits are `pair_limits`.
    counted: [S, N] positions that count (`first_seen`); of the others no more is asked than finite numbers, and a
       sequence without any, such as a copy of another, is left out. None: all count.
    k: ids to compare at a position, at most. An engine that appends the target to its list must be cut to
       the k that it was asked for, or the target's rank would pose as the least listed probability.
    controls: T of healthy models on this engine, frozen; g = max(1.25, min(1.15 x largest, 1.5)).
    int8_ratio: T of the reference with int8 weights on this model; F = max(3 g, int8_ratio).
    strata: how many are asked about at once; what accuses, and what withholds a PASS, is corrected for their number.
       The bounds of a PASS are not: that all of them lie within g is claimed only if each one does, so no claim is
       easier to make by making several (Berger 1982, intersection-union test).
    rungs: T of visible roundings of the reference (`ladder`), for the sentence.
    pass_alpha, fail_alpha: of a one-sided and of a two-sided bound.
    Raises ValueError if shapes differ, a replicate is not finite, or a sequence has no valid position.
    """
    good, fail = ratio_limits(controls, int8_ratio) if baseline is None else pair_limits()
    fail_alpha /= strata
    if counted is None:
        check_family(reference, replicates)
    bad = nonfinite(reference, candidate)
    reference, numbers = counted_part(reference, counted)
    candidate, replicates = rows(candidate, numbers), {name: rows(run, numbers) for name, run in replicates.items()}
    check_family(reference, replicates)
    against, measure = reference, measure_noise
    if baseline is not None:
        against, measure = restrict(rows(baseline, numbers), valid_positions(reference)), measure_pairs
    depth = _depth(against, candidate, bad[numbers], k)
    noise = measure(reference, replicates, depth)
    run = run_statistics(against, candidate, depth)
    obstacle = find_obstacle(run, noise)
    if obstacle:
        return _without_ratio(run, noise, bad, numbers, good, fail, depth, obstacle)
    divergences = [item.kl for item in noise.runs]
    logs, null = weighted_log_ratio(run.kl, divergences, noise.c), null_log_ratios(divergences, noise.c)
    logs_d = weighted_log_ratio(abs(run.difference), [abs(item.difference) for item in noise.runs], noise.tau)
    if baseline is not None:
        logs, logs_d = (np.maximum(values, math.log(PAIR_FLOOR)) for values in (logs, logs_d))
    ratio, ratio_d = (estimate(values, pass_alpha, fail_alpha) for values in (logs, logs_d))
    valid, margin = valid_positions(against), top_margin(against)
    side_alpha = pass_alpha / SIDE_STATISTICS / strata
    q = Question(run, noise, valid, numbers, good, fail, margin, side_alpha, fail_alpha)
    sides = {side.name: side for side in side_statistics(q, logs, null)}
    decision, sentence = _decide(ratio, ratio_d, list(sides.values()), bad, good, fail)
    if decision != "PASS" and (words := placed(ratio.value, rungs or {})):
        sentence += f"; on the scale of this model: {words}"
    return RatioVerdict(
        decision=decision,
        sentence=sentence + _reference_problem(noise.dropped),
        ratio=ratio,
        ratio_d=ratio_d,
        limit_good=good,
        limit_fail=fail,
        sequences=len(valid),
        tokens=int(valid.sum()),
        listed=int(depth.max(initial=0)),
        misses=int(run.miss.sum()),
        nonfinite=int(bad.sum()),
        tail_fraction=sides["tail"].value,
        hard_flips=int(hard(q, run).sum()),
        bias=sides["bias"].value,
        worst_sequence=int(numbers[logs.argmax()]),
        worst_ratio=sides["worst_sequence"].value,
        first_bad=_first_bad(bad, numbers, run.miss | gross(q, run) | hard(q, run)),
        sides=tuple(sides.values()),
        repeated=noise.repeated,
        dropped=noise.dropped,
    )


def check_family(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs]) -> None:
    """ValueError where a sequence has no valid position, for its mean would be NaN, or a shape differs."""
    for replicate in replicates.values():
        check_same_shape(reference, replicate)
    occupied = valid_positions(reference).any(axis=1)
    if not occupied.all():
        raise ValueError(f"sequence {int(np.argmin(occupied))} of the reference has no valid position")


def _depth(reference: TokenLogprobs, candidate: TokenLogprobs, bad: Flags, k: int | None) -> Ints:
    """[S, N]: ids to compare, as many as both list; a list with a non-finite logprob does not shorten it."""
    listed = listed_count(reference)
    depth = np.minimum(listed, np.where(bad, listed, listed_count(candidate)))
    return np.where(valid_positions(reference), depth if k is None else np.minimum(depth, k), 0)


def _first_bad(bad: Flags, numbers: Ints, flags: Flags) -> tuple[int, int] | None:
    """The first of what is no number in any sequence [S, N], and what is flagged in those with these numbers."""
    every = bad.copy()
    every[numbers] |= flags
    return first_flagged(every)


def estimate(logs: Floats, pass_alpha: float, fail_alpha: float) -> Estimate:
    """Geometric mean of the ratios whose logarithms are given, by Student's t on n - 1 degrees.

    Bounds at `pass_alpha` each by itself, and a two-sided interval at `fail_alpha`.
    """
    n = len(logs)
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(n)
    wide, wider = (float(scipy.stats.t.ppf(1 - alpha, n - 1)) * error for alpha in (pass_alpha, fail_alpha / 2))
    return Estimate(
        value=math.exp(mean),
        low_pass=math.exp(mean - wide),
        high_pass=math.exp(mean + wide),
        low_fail=math.exp(mean - wider),
        high_fail=math.exp(mean + wider),
    )


def _reference_problem(dropped: Sequence[str]) -> str:
    """What must be told beside any verdict: part of the software that all engines are measured against is wrong."""
    if not dropped:
        return ""
    names = " and ".join(dropped)
    return f"; reference problem: {names} disagrees with the other replicates by over {REPLICATE_SPREAD:g} x, left out"


# --- where no ratio can be formed -------------------------------------------------------------------------


def find_obstacle(run: Run, noise: Noise) -> str | None:
    """Why no ratio can be formed, if so."""
    if len(noise.runs) < MIN_REPLICATES:
        return f"{len(noise.runs)} replicates agree with each other and {MIN_REPLICATES} are needed"
    if len(run.kl) < 2:
        return f"{len(run.kl)} sequence has no spread to judge by"
    if np.mean([sequence_scores(item.kl, noise.c).mean() for item in noise.runs]) < NOISE_RESOLUTION:
        return "the replicates show no rounding noise, so a ratio to it does not apply (float32 weights?)"
    return None


def _without_ratio(
    run: Run, noise: Noise, bad: Flags, numbers: Ints, good: float, fail: float, depth: Ints, obstacle: str
) -> RatioVerdict:
    first = first_flagged(bad)
    return RatioVerdict(
        decision="FAIL" if first else "UNDECIDED",
        sentence=(_nonfinite_sentence(bad) if first else obstacle) + _reference_problem(noise.dropped),
        ratio=None,
        ratio_d=None,
        limit_good=good,
        limit_fail=fail,
        sequences=len(run.kl),
        tokens=int((~np.isnan(run.kl)).sum()),
        listed=int(depth.max(initial=0)),
        misses=int(run.miss.sum()),
        nonfinite=int(bad.sum()),
        tail_fraction=0.0,
        hard_flips=0,
        bias=0.0,
        worst_sequence=None,
        worst_ratio=0.0,
        first_bad=_first_bad(bad, numbers, run.miss),
        sides=(),
        repeated=noise.repeated,
        dropped=noise.dropped,
    )


# --- the rule ---------------------------------------------------------------------------------------------


def _decide(
    ratio: Estimate, ratio_d: Estimate, sides: Sequence[SideStatistic], bad: Flags, good: float, fail: float
) -> tuple[Decision, str]:
    """The rule, gravest first; the sentence names everything that led to it."""
    estimates = ((ratio, ""), (ratio_d, " in the target logprobs"))

    def beyond(limit: float) -> list[str]:
        return [
            _ratio_sentence(e, what, e.low_fail, e.high_fail, "99.9% interval")
            for e, what in estimates
            if e.low_fail > limit
        ]

    def said(worst: Decision) -> list[str]:
        return [side.sentence for side in sides if side.worst == worst]

    unusable = [_nonfinite_sentence(bad)] if bad.any() else []
    if reasons := [*unusable, *beyond(fail), *said("FAIL")]:
        return "FAIL", "; ".join(reasons)
    if reasons := [*beyond(good), *said("DEGRADED")]:
        return "DEGRADED", "; ".join(reasons)
    wide = [
        _ratio_sentence(e, what, e.low_pass, e.high_pass, "99% bounds") + f", which reaches above {good:.3g}"
        for e, what in estimates
        if e.high_pass > good
    ]
    if reasons := [*wide, *said("UNDECIDED")]:
        return "UNDECIDED", "; ".join(reasons)
    return "PASS", _ratio_sentence(ratio, "", ratio.low_pass, ratio.high_pass, "99% bounds")


def _ratio_sentence(estimate: Estimate, what: str, low: float, high: float, level: str) -> str:
    return f"{estimate.value:.2g} x the model's own rounding noise{what} ({level} {low:.2g}-{high:.2g})"


def _nonfinite_sentence(bad: Flags) -> str:
    first = first_flagged(bad)
    assert first is not None
    more = f" and {int(bad.sum()) - 1} more" if bad.sum() > 1 else ""
    return f"non-finite logprob at {place(first)}{more}"
