"""Side statistics: faults that the ratio, a mean over tokens and sequences, cannot see.

Each has a null of its own from the replicates, and each is part of the rule. Where the tests come from: Student's t
over sequences, the independent units (tokens are not); the conditional binomial test of two rates (Przyborowski
and Wilenski 1940) on counts divided by their design effect (Rao and Scott 1992), because bad tokens come in clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded when first used: `stats` takes a second, and most commands judge nothing

from probes.noise_floor.limits import HARD_MARGIN, REPLICATE_SPREAD
from probes.noise_floor.logprobs import Flags, Floats, Ints
from probes.noise_floor.noise import Noise, Run
from probes.noise_floor.verdicts import Decision, SideStatistic, first_flagged, place

SIDE_STATISTICS = 7
"""How many `side_statistics` gives: a PASS corrects its level for their number (Bonferroni)."""
DEVIATION_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


class Question(NamedTuple):
    """All that the side statistics are asked about."""

    run: Run
    noise: Noise
    valid: Flags
    numbers: Ints
    """[S]: which of the measured sequences these are."""
    good: float
    """g"""
    fail: float
    """F"""
    margin: Floats
    """[S, N]: how sure the reference is of its top token, nats."""
    pass_alpha: float
    """Level of one side statistic, corrected for their number."""
    fail_alpha: float


def side_statistics(q: Question, logs: Floats, null: Floats) -> tuple[SideStatistic, ...]:
    """All of them. `logs` [S] are the candidate's log-ratios to the noise, `null` [J, S] the replicates' own."""
    strange = "share less than half of the reference's probable tokens, or list more than all probability"
    gross_tail = f"diverge by over {q.fail:.3g} x the noise's 99.9% quantile"
    off = "have a target logprob off by more than the noise's 99.9% quantile"
    return (
        _rate(q, "misses", lambda run: run.miss, strange),
        _worst_sequence(q, logs, null),
        _rate(q, "gross_tail", lambda run: gross(q, run), gross_tail),
        _rate(q, "hard_flips", lambda run: hard(q, run), "have another top token where the reference is sure"),
        _tail_rate(q, "tail", _divergence, q.noise.c, 1.0, "diverge by more than the noise's 99.9% quantile"),
        _tail_rate(q, "tail_d", _target_error, q.noise.tau, 0.5, off),
        _bias(q),
    )


def gross(q: Question, run: Run) -> Flags:
    """[S, N]: diverges by over F times the noise's 99.9% quantile."""
    return np.asarray(_divergence(run) > q.fail * q.noise.c)


def hard(q: Question, run: Run) -> Flags:
    """[S, N]: another top token where the reference's margin is wider than rounding can close."""
    return np.asarray(run.flip & (q.margin > HARD_MARGIN * q.noise.tau))


def _divergence(run: Run) -> Floats:
    return np.nan_to_num(run.kl, nan=0.0)


def _target_error(run: Run) -> Floats:
    return np.abs(np.nan_to_num(run.difference, nan=0.0))


# --- counts of tokens -------------------------------------------------------------------------------------


def rate_excess(flags: Flags, noise: Sequence[Flags], valid: Flags) -> float:
    """One-sided p-value that the candidate's rate of flagged tokens is not above the replicates'.

    Given m flagged tokens in the candidate and M in all J replicates together, m is binomial with chance
    n / (n + J n) if the rates are equal. Flagged tokens cluster in sequences, and at the same hard positions in
    every replicate, so both counts and numbers of trials are first divided by their design effect. The
    smallest proof against five silent replicates is four tokens at the 99.9% level: (1/6)^4 = 0.0008.
    """
    own, together = flags.astype(float), np.sum([flag.astype(float) for flag in noise], axis=0)
    m, n, effect = _clustered(own, valid)
    if m == 0:
        return 1.0
    big_m, _, noise_effect = _clustered(together, valid)
    # Silent replicates show no clustering, which does not mean that their noise would have none.
    noise_effect = max(effect, noise_effect)
    trials, noise_trials = n / effect, n * len(noise) / noise_effect
    # P(X >= m) of a binomial of m + M trials, as an incomplete beta function: the counts are not whole now.
    return float(scipy.special.betainc(m / effect, big_m / noise_effect + 1, trials / (trials + noise_trials)))


def _clustered(counts: Floats, valid: Flags) -> tuple[float, float, float]:
    """Flagged tokens, valid tokens, and the design effect of the clustering by sequence (at least 1)."""
    per_sequence, sizes = (counts * valid).sum(axis=1), valid.sum(axis=1).astype(float)
    total, n, s = float(per_sequence.sum()), float(sizes.sum()), len(sizes)
    if total == 0 or s < 2:
        return total, n, 1.0
    variance = s / (s - 1) * float(((per_sequence - sizes * total / n) ** 2).sum())
    return total, n, max(1.0, variance / total)  # against that of a count of rare events, Poisson


def _rate(q: Question, name: str, flag: Callable[[Run], Flags], what: str) -> SideStatistic:
    """A side statistic that counts tokens which noise hardly ever flags; their excess alone means FAIL."""
    own, noise = flag(q.run), [flag(run) for run in q.noise.runs]
    p_value = rate_excess(own, noise, q.valid)
    worst: Decision = "FAIL" if p_value < q.fail_alpha else "UNDECIDED" if p_value < q.pass_alpha else "PASS"
    return _counted(q, name, own, noise, p_value, worst, what)


def _tail_rate(
    q: Question, name: str, values: Callable[[Run], Floats], limit: float, power: float, what: str
) -> SideStatistic:
    """Tokens beyond the noise's quantile, against noise that is 1, g or F times as large in K.

    The count grows with T, so an excess over the noise itself proves no more than T does. FAIL takes an
    excess over what the noise would show if it were F times larger (`power` is 1 for K and 1/2 for |d|, whose
    square K follows): it finds an error that spares the mean, such as a wrong tail behind a right list.
    """
    own = np.asarray(values(q.run) > limit)

    def p_against(times: float) -> tuple[float, list[Flags]]:
        noise = [np.asarray(values(run) > limit / times**power) for run in q.noise.runs]
        return rate_excess(own, noise, q.valid), noise

    p_value, noise = p_against(1.0)
    worst: Decision = "PASS"
    if p_against(q.fail)[0] < q.fail_alpha:
        worst = "FAIL"
    elif p_against(q.good)[0] < q.fail_alpha:
        worst = "DEGRADED"
    elif p_value < q.pass_alpha:
        worst = "UNDECIDED"
    return _counted(q, name, own, noise, p_value, worst, what)


def _counted(
    q: Question, name: str, own: Flags, noise: Sequence[Flags], p_value: float, worst: Decision, what: str
) -> SideStatistic:
    tokens, first = int(q.valid.sum()), first_flagged(own, q.numbers)
    usual = float(np.mean([flags.sum() for flags in noise]))
    sentence = f"{int(own.sum())} of {tokens} tokens {what} (noise: {usual:.3g})"
    return SideStatistic(
        name=name,
        value=float(own.sum()) / tokens,
        noise=usual / tokens,
        p_value=p_value,
        worst=worst,
        sentence=sentence + (f", first at {place(first)}" if first else ""),
    )


# --- sequences --------------------------------------------------------------------------------------------


def _worst_sequence(q: Question, logs: Floats, null: Floats) -> SideStatistic:
    """The sequence with the largest ratio; one broken sequence of 24 moves the mean ratio to 1.2 at most.

    Its null is the spread of the replicates' own log-ratios, each against the others, or the bulk of the
    candidate's (by its median deviation) where that is wider; t with n - 1 degrees, Bonferroni over the
    sequences. Log-ratios of healthy runs have heavier tails than that (1.5 was seen), so a sequence below
    twice the noise never counts.
    """
    row = int(logs.argmax())
    bulk = DEVIATION_OF_MEDIAN * float(np.median(abs(logs - float(np.median(logs)))))
    spread = max(math.sqrt(float(null.var(axis=1, ddof=1).mean())), bulk, 1e-6)
    n, times = len(logs), math.exp(float(logs[row]))
    p_value = min(1.0, n * float(scipy.stats.t.sf(float(logs[row]) / spread, n - 1)))
    worst: Decision = "PASS"
    if p_value < q.fail_alpha and times > q.fail:
        worst = "FAIL"
    elif p_value < q.pass_alpha and times > REPLICATE_SPREAD:
        worst = "UNDECIDED"
    return SideStatistic(
        name="worst_sequence",
        value=times,
        noise=math.exp(float(null.max())),
        p_value=p_value,
        worst=worst,
        sentence=f"sequence {int(q.numbers[row])} is {times:.3g} x the model's own rounding noise",
    )


def _bias(q: Question) -> SideStatistic:
    """Mean difference of the target logprobs against the replicates', t over sequences.

    It only ever withholds a PASS. With many tokens any two kernels differ significantly by nothing that matters,
    so the difference must also exceed g times the largest that one replicate shows against the others.
    """
    own = _mean_difference(q.run, q.noise.tau)
    noise = np.array([_mean_difference(run, q.noise.tau) for run in q.noise.runs])
    gap = own - noise.mean(axis=0)
    others = (noise.sum(axis=0) - noise) / (len(noise) - 1)
    usual = float(abs((noise - others).mean(axis=1)).max())
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap))
    p_value = 2 * float(scipy.stats.t.sf(abs(float(gap.mean())) / error, len(gap) - 1)) if error > 0 else 1.0
    beyond = p_value < q.pass_alpha and abs(float(gap.mean())) > q.good * usual
    return SideStatistic(
        name="bias",
        value=float(own.mean()),
        noise=float(noise.mean()),
        p_value=p_value,
        worst="UNDECIDED" if beyond else "PASS",
        sentence=f"target logprobs are off by {float(own.mean()):+.3g} nats on average "
        f"(noise: {float(noise.mean()):+.3g})",
    )


def _mean_difference(run: Run, tau: float) -> Floats:
    """[S], winsorised at tau."""
    return np.asarray(np.nanmean(np.clip(run.difference, -tau, tau), axis=1))
