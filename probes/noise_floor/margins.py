"""The text-only margin test, for engines that give no logprobs: tokens that rounding cannot explain are counted.

The method is that of Token-DiFR at temperature 0 (arXiv 2511.20621).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy  # its parts are loaded when first used: `stats` takes a second, and most commands judge nothing

from probes.noise_floor.limits import (
    HARD_MARGIN,
    MARGIN_FAIL_ALPHA,
    MARGIN_NOISE_ALPHA,
    MARGIN_RATE,
    NOISE_QUANTILE,
    PASS_ALPHA,
)
from probes.noise_floor.logprobs import (
    Flags,
    Floats,
    TokenLogprobs,
    listed_count,
    look_up,
    most_likely,
    valid_positions,
)
from probes.noise_floor.verdicts import Decision, MarginVerdict, PartingVerdict, first_flagged, place


def greedy_margins(reference: TokenLogprobs, replicate: TokenLogprobs) -> Floats:
    """[S, N]: ln p(argmax) - ln p(v) under the reference, v the replicate's most likely id; NaN at padding.

    What the margins of a greedy engine with only this rounding noise would be. An id that the reference does
    not list is given the least listed probability, so its margin is a lower bound.
    """
    chosen, _, _ = most_likely(replicate, np.minimum(listed_count(replicate), 1))
    ids, logs, inside = most_likely(reference, listed_count(reference))
    own, _ = look_up(chosen, ids, logs, inside)
    return np.where(valid_positions(reference), logs[..., 0] - own[..., 0], np.nan)


def generated_margins(reference: TokenLogprobs) -> Floats:
    """[S, N]: ln p(argmax) - ln p(token) under the reference for the tokens themselves; NaN at padding."""
    _, logs, _ = most_likely(reference, listed_count(reference))
    margins = np.maximum(logs[..., 0] - reference.target_logprobs, 0.0)
    return np.where(valid_positions(reference), margins, np.nan)


def judge_margins(
    margins: Floats,
    noise: Sequence[Floats],
    tau: float,
    *,
    control: float = 0.0,
    rate: float = MARGIN_RATE,
    alpha: float = MARGIN_FAIL_ALPHA,
) -> MarginVerdict:
    """Judge greedily generated ids alone: how often was a token chosen that rounding cannot explain?

    margins: [S, N] of the generated tokens (`generated_margins` with the prompt left out by `restrict`), NaN
    elsewhere. noise: the same of each replicate (`greedy_margins`). A margin over 2 tau is a hard mismatch:
    two logprobs, each off by at most tau, cannot trade places across it. A sequence is counted up to its
    first one, for what follows is the engine's answer to a context of its own making and would count one
    fault many times.

    `control` is the rate of hard mismatches that healthy models show on this engine, frozen when it was accepted: its
    kernels differ from the replicates' legitimately. It counts up to `rate`.

    FAIL       an exact binomial test rejects the rate h0 at `alpha`: the replicates' (upper 95% bound), or `control`.
    PASS       the exact upper 99% bound of the rate is within h0 + `rate`, and h0 is not rejected at 1%.
    UNDECIDED  otherwise; without any hard mismatch a PASS takes `needed_tokens`.
    """
    hard, tokens, first = _count(margins, tau)
    counts = [_count(item, tau) for item in noise]
    noise_hard, noise_tokens = sum(item[0] for item in counts), sum(item[1] for item in counts)
    h0 = max(_upper_rate(noise_hard, noise_tokens, MARGIN_NOISE_ALPHA), min(control, rate))
    p_value = float(scipy.stats.binom.sf(hard - 1, tokens, h0)) if hard else 1.0
    bar = min(1.0, h0 + rate)
    needed = math.ceil(math.log(PASS_ALPHA) / math.log1p(-bar)) if bar < 1 else 0
    usual = f"noise: {noise_hard} of {noise_tokens}"
    said = f"{hard} of {tokens} generated tokens cannot be explained by rounding ({usual})"
    decision: Decision = "UNDECIDED"
    if p_value < alpha:
        decision = "FAIL"
        said += f", first at {place(first)}" if first else ""
    elif tokens and _upper_rate(hard, tokens, PASS_ALPHA) <= bar and p_value >= PASS_ALPHA:
        decision = "PASS"
    elif hard == 0:
        said += f"; a verdict takes {needed} tokens"
    return MarginVerdict(
        decision=decision,
        sentence=said,
        tokens=tokens,
        hard=hard,
        noise_rate=h0,
        p_value=p_value,
        tau=tau,
        needed_tokens=needed,
        first_bad=first,
    )


def judge_partings(unexplained: int, parted: int, tokens: int, *, alpha: float = MARGIN_FAIL_ALPHA) -> PartingVerdict:
    """Judge greedy texts of the same prompts against each other, by where they part.

    parted: pairs of texts that part somewhere. unexplained: those that part where the two tokens lie over 2 tau apart,
    which rounding brings about at one token in a thousand at most, as tau is the noise's 99.9% quantile.

    FAIL       an exact binomial test rejects that rate at `alpha`.
    PASS       no parting is unexplained.
    UNDECIDED  otherwise.
    """
    p_value = float(scipy.stats.binom.sf(unexplained - 1, tokens, 1 - NOISE_QUANTILE)) if unexplained else 1.0
    decision: Decision = "FAIL" if p_value < alpha else "UNDECIDED" if unexplained else "PASS"
    said = f"the same text over {tokens} tokens"
    if parted:
        said = f"{parted} texts part within {tokens} tokens, {unexplained} of them where rounding cannot explain it"
    return PartingVerdict(decision=decision, sentence=said, p_value=p_value)


def _count(margins: Floats, tau: float) -> tuple[int, int, tuple[int, int] | None]:
    """Hard mismatches (one a sequence at most), tokens up to them, and the first of them."""
    valid = ~np.isnan(margins)
    hard = valid & (margins > HARD_MARGIN * tau)
    before: Flags = np.asarray(np.cumsum(hard, axis=1) - hard == 0)
    counted = valid & before
    return int((hard & before).sum()), int(counted.sum()), first_flagged(hard & before)


def _upper_rate(count: int, trials: int, alpha: float) -> float:
    """Exact (Clopper-Pearson) one-sided upper bound of a rate; 1 without trials."""
    return float(scipy.stats.beta.ppf(1 - alpha, count + 1, trials - count)) if trials > count else 1.0
