"""Our verdict as a number, so that it has a curve beside those of other rules; larger is worse.

Two families of rules hold ours as one member, and each gives a score:

    tolerance   g varies, the level stays: the largest g at which the unit would still be called DEGRADED
    level       g stays, the level varies: -log10 of the smallest one at which it would be called DEGRADED or worse

Other rules have a tolerance alone, so the first is the one to compare with them. What means FAIL whatever g is (hard
flips, misses …) is more than any tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy

from matrix.cells import Record
from probes.noise_floor import (
    FAIL_ALPHA,
    Estimate,
    Floats,
    Ints,
    RatioVerdict,
    SideStatistic,
    TokenLogprobs,
    listed_count,
    rate_excess,
)
from probes.noise_floor.logprobs import valid_positions
from probes.noise_floor.noise import Run, measure_noise, run_statistics

BLAMED = ("FAIL", "DEGRADED")

BEYOND = 1e6
"""The tolerance of what no tolerance excuses; a number, for JSON has no infinity."""
LOWEST, HIGHEST = 0.01, 1e4
"""Between which the tolerance of a tail is looked for."""
STEPS = 30
"""Halvings of that range: five digits."""
LEAST_LEVEL = 1e-300

TAILS = ("tail", "tail_d")
COUNTS = ("misses", "gross_tail", "hard_flips")
"""Sides that accuse where their p-value is below the level."""


class Score(Record, frozen=True, kw_only=True):
    """How bad a unit is by our rule."""

    tolerance: float
    level: float


class Tail(Record, frozen=True, kw_only=True):
    """The excess of tokens beyond the noise's quantile, by how many times larger the noise is taken to be."""

    p_value: Callable[[float], float]


def score(
    reference: TokenLogprobs,
    replicates: Mapping[str, TokenLogprobs],
    candidate: TokenLogprobs,
    verdict: RatioVerdict,
    k: int,
) -> Score:
    """The scores of a unit whose verdict at the rule's own g and level is given."""
    if verdict.ratio is None or verdict.ratio_d is None:
        found = BEYOND if verdict.decision in BLAMED else 0.0
        return Score(tolerance=found, level=found)
    depth = np.minimum(np.minimum(listed_count(reference), listed_count(candidate)), k)
    depth = np.asarray(np.where(valid_positions(reference), depth, 0))
    tails = tails_of(reference, replicates, candidate, depth)
    ratios = (verdict.ratio, verdict.ratio_d)
    good, n = verdict.limit_good, verdict.sequences
    tolerances = [ratio.low_fail for ratio in ratios]
    levels = [_level_of_ratio(ratio, good, n) for ratio in ratios]
    for side in verdict.sides:
        tail = tails.get(side.name)
        tolerances.append(_tolerance_of_side(side, tail, good))
        levels.append(_level_of_side(side, tail, verdict))
    level = -math.log10(max(LEAST_LEVEL, 0.0 if verdict.nonfinite else min(levels)))
    return Score(tolerance=BEYOND if verdict.nonfinite else max(tolerances), level=level)


def accused(found: Score, good: float) -> tuple[bool, bool]:
    """What the two scores say at the rule's own g and level: DEGRADED or worse."""
    return found.tolerance > good, found.level > -math.log10(FAIL_ALPHA)


# --- ratios -----------------------------------------------------------------------------------------------


def _level_of_ratio(ratio: Estimate, good: float, n: int) -> float:
    """The two-sided level whose lower bound is g."""
    half_width = math.log(ratio.value / ratio.low_fail)
    error = half_width / float(scipy.stats.t.ppf(1 - FAIL_ALPHA / 2, n - 1))
    above = math.log(ratio.value / good)
    if error == 0:
        return 0.0 if above > 0 else 1.0
    return min(1.0, 2 * float(scipy.stats.t.sf(above / error, n - 1)))


# --- sides ------------------------------------------------------------------------------------------------


def tails_of(
    reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], candidate: TokenLogprobs, depth: Ints
) -> dict[str, Tail]:
    """The two tails of the rule, as functions of how many times larger the noise is."""
    noise, run = measure_noise(reference, replicates, depth), run_statistics(reference, candidate, depth)
    valid = valid_positions(reference)

    def tail(values: Callable[[Run], Floats], limit: float, power: float) -> Tail:
        own, others = values(run) > limit, [values(other) for other in noise.runs]

        def p_value(times: float) -> float:
            return rate_excess(own, [other > limit / times**power for other in others], valid)

        return Tail(p_value=p_value)

    return {"tail": tail(_divergence, noise.c, 1.0), "tail_d": tail(_target_error, noise.tau, 0.5)}


def _divergence(run: Run) -> Floats:
    return np.nan_to_num(run.kl, nan=0.0)


def _target_error(run: Run) -> Floats:
    return np.abs(np.nan_to_num(run.difference, nan=0.0))


def _tolerance_of_side(side: SideStatistic, tail: Tail | None, good: float) -> float:
    if tail is None:
        return BEYOND if side.worst in BLAMED else 0.0
    # Which side of g it lies on is the verdict's own answer; only how far is looked for.
    if side.worst in BLAMED:
        return max(_edge(tail, good, HIGHEST), float(np.nextafter(good, math.inf)))
    return _edge(tail, LOWEST, good)


def _edge(tail: Tail, low: float, high: float) -> float:
    """Up to how many times the noise there is an excess, between two limits."""
    if tail.p_value(low) >= FAIL_ALPHA:
        return low
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if tail.p_value(middle) < FAIL_ALPHA else (low, middle)
    return low


def _level_of_side(side: SideStatistic, tail: Tail | None, verdict: RatioVerdict) -> float:
    if tail is not None:
        return tail.p_value(verdict.limit_good)
    if side.name in COUNTS:
        return side.p_value
    if side.name == "worst_sequence":
        return side.p_value if side.value > verdict.limit_fail else 1.0
    return 0.0 if side.worst in BLAMED else 1.0
