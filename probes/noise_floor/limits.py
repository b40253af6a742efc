"""The limits of the noise-floor tests, each with where it comes from.

Three kinds: how far an engine may be from the reference, how sure a verdict must be, and what counts as noise or
as a number at all. "Pilot" is a study of two models (135 and 270 million parameters, weights in bfloat16).
"""

from __future__ import annotations

from collections.abc import Sequence

# --- how far ----------------------------------------------------------------------------------------------

RATIO_GOOD = 1.25
"""An engine's kernels differ from those of the replicates, legitimately: the replicates differ among each other by
up to 13% (pilot: 0.93 to 1.13)."""
CONTROL_ROOM = 1.15
"""g is this many times what healthy models showed: a cell that measures its control's ratio again must be able to pass,
and the upper 99% bound of 16 sequences lies 3 to 11% above the ratio (1,008 healthy sets of two models, 2026-11-25).
The 15% are that and a margin, set by hand: no experiment chose them."""
RATIO_GOOD_CAP = 1.5
"""Healthy control models served by the same engine may raise g, but not beyond this."""
PAIR_GOOD = 3.0
"""An engine against itself, in units of how far two replicates lie apart. Two ways whose roundings have nothing in
common lie at 1; eight prompts of some tokens each know that to a factor of two (upper 99% bound), and what is wrong in
what an engine keeps shows itself by factors of a hundred. Smaller errors are for the comparison with the reference."""
PAIR_FLOOR = 1 / PAIR_GOOD
"""Two answers that are nearer to each other than this are not asked how much nearer: some are the same to the bit and
others are not, and a mean of logarithms would be ruled by those that are."""
FAIL_FACTOR = 3.0
"""FAIL means: further away than a visible quantization. Int8 weights, rounded per row, measure 3.4 (pilot)."""
HARD_MARGIN = 2.0
"""Times tau: two logprobs, each off by at most tau, cannot trade places across a wider margin."""
MARGIN_RATE = 0.005
"""Share of hard mismatches that a text-only PASS excludes: above it lie int4 weights (7.8% and 12.2%, pilot) and
gross faults, below it rounding noise (0) and int8 weights (0.04%)."""

FLOAT32_GOOD = 30.0
"""In float32, times the replicates' differences: vLLM, SGLang and llama.cpp lie within 3.4 on SmolLM2's thirty layers
(2026-11-25), and within 25 on tiny checkpoints (2e-6 from SGLang and llama.cpp, 5e-5 from vLLM)."""
FLOAT32_FAIL = 100.0
"""A fault stands out by two orders of magnitude there, or rounding may be all there is."""
FLOAT32_RESOLUTION = 2.0**-22
"""Of a float32 logprob of some nats: two units in its last place."""
FLOAT32_TIES = 0.3
"""Share of tokens at which rounding may decide, above which the others carry no PASS; and a replicate that differs at
more of them is none. Of seventy tiny checkpoints ties reach 10%, and one early in one of eight prompts an eighth; ways
that the reference's code gets wrong begin at 57% (2026-11-26)."""

# --- how sure ---------------------------------------------------------------------------------------------

PASS_ALPHA = 0.01
"""99% bounds for a PASS, each by itself: an equivalence claim is two one-sided tests (Schuirmann 1987), and an engine
that is nearer than the noise is not asked how much nearer."""
FAIL_ALPHA = 0.001
"""Two-sided 99.9% interval, so 0.0005 on the side that accuses an engine."""
MARGIN_FAIL_ALPHA = 0.0005
"""The same side of a test that has only one."""
MARGIN_NOISE_ALPHA = 0.05
"""The replicates' rate of hard mismatches is taken at its upper 95% bound, for they are few."""

# --- what is noise ----------------------------------------------------------------------------------------

NOISE_QUANTILE = 0.999
"""c and tau: what the noise itself exceeds once in a thousand tokens."""
REPLICATE_SPREAD = 2.0
"""A replicate this many times off the others is a fault of the reference's software: dropped."""
MIN_REPLICATES = 3
"""Below three there is no telling which one is off."""
SAME_SHARE = 0.5
"""Replicates that agree to the bit at more positions than this are one computation, counted once."""
SCORE_FLOOR = 0.01
"""A sequence that the noise hardly touches (score under 1% of the mean) would give a ratio of two rounding errors,
or of nought: both sides are raised to this share of the mean noise score before they are divided."""
NOISE_RESOLUTION = 1e-7
"""float32 logprobs carry a rounding error near 6e-8 nats in K (pilot); a noise floor under this is not one."""

# --- what is a number -------------------------------------------------------------------------------------

TAIL_FLOOR = 1e-9
"""The least mass that a tail is given, so that ln q stays finite."""
SHARED_MASS = 0.5
"""Lists that share less than this part of the reference's listed mass are about something else: a miss."""
SUM_SLACK = 1.05
"""Listed probabilities may exceed 1 by the rounding of logprobs in bfloat16, not by more."""
UNUSABLE = -9999.0
"""vLLM writes -inf as -9999 in its OpenAI answers."""


def pair_limits() -> tuple[float, float]:
    """The same where an engine is compared with itself."""
    return PAIR_GOOD, FAIL_FACTOR * PAIR_GOOD


def ratio_limits(controls: Sequence[float] = (), int8_ratio: float | None = None) -> tuple[float, float]:
    """g and F: beyond how many times the noise an engine is not good, and beyond how many it fails.

    `controls` are the ratios T of healthy models on this engine, frozen when it was accepted, `int8_ratio` that of the
    reference with int8 weights on this model: g = max(1.25, min(1.15 x largest control, 1.5)),
    F = max(3 g, int8_ratio).
    """
    good = max(RATIO_GOOD, min(CONTROL_ROOM * max(controls, default=0.0), RATIO_GOOD_CAP))
    return good, max(FAIL_FACTOR * good, int8_ratio or 0.0)
