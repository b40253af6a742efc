"""The noise-floor ratio test: is an engine further from the reference than the model's own rounding noise?

No absolute threshold fits all models, so each model brings its own: the same weights are run in bfloat16
along several numeric paths (the *replicates*), and an engine is judged by how many times further from the
float32 reference it lies than they do. Everything here is pure: arrays in, frozen records out; nothing reads
a file or talks to an engine.

Shapes: S sequences, N columns, K listed ids. Column n holds token n + 1 of its sequence, given the tokens
before it. Logprobs are natural logarithms; divergences are in nats a token. What is NaN in the *reference's*
target logprobs is padding, or left out by `restrict`, and is looked at nowhere.

Where the tests come from: the divergence on a coarsened vocabulary and the data-processing inequality
(Kullback and Leibler 1951; Cover and Thomas, Elements of Information Theory, 2.8); winsorised means;
Student's t over sequences, the independent units (tokens are not); the conditional binomial test of two rates
(Przyborowski and Wilenski 1940) on counts divided by their design effect (Rao and Scott 1992), because bad
tokens come in clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Flags = NDArray[np.bool_]
Decision = Literal["PASS", "DEGRADED", "FAIL", "UNDECIDED"]

# An engine's kernels differ from those of the replicates, legitimately. Replicates differ among each other by
# up to 13% (pilot: two models, 0.93 to 1.13); healthy control models served by the same engine may raise g,
# but not beyond the cap.
RATIO_GOOD = 1.25
RATIO_GOOD_CAP = 1.5
# FAIL means: further away than a visible quantization. Int8 weights, rounded per row, measure 3.4 in the
# pilot.
FAIL_FACTOR = 3.0
PASS_ALPHA = 0.01  # two-sided 99% interval for a PASS, an equivalence claim
FAIL_ALPHA = 0.001  # two-sided 99.9% interval, so 0.0005 on the side that accuses an engine
NOISE_QUANTILE = 0.999  # c and tau: what the noise itself exceeds once in a thousand tokens
REPLICATE_SPREAD = 2.0  # a replicate this many times off the others is a fault of the reference's software: dropped
MIN_REPLICATES = 3  # below three there is no telling which one is off
SAME_SHARE = 0.5  # replicates that agree to the bit at more positions than this are one computation, counted once
# A sequence that the noise hardly touches (score under 1% of the mean) would give a ratio of two rounding
# errors, or of nought: both sides are raised to this share of the mean noise score before they are divided.
SCORE_FLOOR = 0.01
# float32 logprobs carry a rounding error near 6e-8 nats in K (pilot); a noise floor under this is not one.
NOISE_RESOLUTION = 1e-7
TAIL_FLOOR = 1e-9  # the least mass that a tail is given, so that ln q stays finite
SUM_SLACK = 1.05  # listed probabilities may exceed 1 by the rounding of logprobs in bfloat16, not by more
UNUSABLE = -9999.0  # vLLM writes -inf as -9999 in its OpenAI answers
# Share of hard mismatches that a text-only PASS excludes: above it lie int4 weights (7.8% and 12.2% in the
# pilot) and gross faults, below it rounding noise (0) and int8 weights (0.04%).
MARGIN_RATE = 0.005
MARGIN_FAIL_ALPHA = 0.0005


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


class TokenKl(msgspec.Struct, frozen=True, kw_only=True):
    """Divergence of a candidate from the reference, by position."""

    kl: Floats
    """[S, N] nats; NaN at padding, inf where the candidate gave no finite number."""
    miss: Flags
    """[S, N]: the lists share less than half of the reference's listed mass, or the mass exceeds 1."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio to the noise with its two-sided intervals."""

    value: float
    low_pass: float
    high_pass: float
    low_fail: float
    high_fail: float


class SideStatistic(msgspec.Struct, frozen=True, kw_only=True):
    """What the ratio, a mean, cannot see. `worst` is what this statistic alone makes of the engine."""

    name: str
    value: float
    noise: float
    """The same quantity in the replicates (for the worst sequence: the largest that noise explains)."""
    p_value: float
    worst: Decision
    sentence: str


class RatioVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of the noise-floor ratio test on one stratum, with what it rests on."""

    decision: Decision
    sentence: str
    ratio: Estimate | None
    """T: geometric mean over sequences of the KL score over the noise's; None if it cannot be formed."""
    ratio_d: Estimate | None
    """T_d: the same for the mean |difference of the target logprobs|."""
    limit_good: float
    """g"""
    limit_fail: float
    """F"""
    sequences: int
    tokens: int
    listed: int
    """Ids compared at a position, at most; 0 where the engine lists none and only targets are compared."""
    misses: int
    nonfinite: int
    tail_fraction: float
    """f: share of tokens whose divergence exceeds the noise's 99.9% quantile."""
    hard_flips: int
    bias: float
    """Mean difference of the target logprobs from the reference's, nats."""
    worst_sequence: int | None
    worst_ratio: float
    first_bad: tuple[int, int] | None
    """Sequence and token index of the first non-finite, missed, grossly divergent or hard-flipped token."""
    sides: tuple[SideStatistic, ...]
    repeated: tuple[str, ...]
    """Replicates left out because they repeat an earlier one bit by bit."""
    dropped: tuple[str, ...]
    """Replicates left out because they disagree with the others: a fault of the reference's software."""


class MarginVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of the text-only margin test."""

    decision: Decision
    sentence: str
    tokens: int
    """Tokens counted: of each sequence, up to and with its first hard mismatch."""
    hard: int
    noise_rate: float
    """h0: upper 95% bound of the replicates' rate of hard mismatches."""
    p_value: float
    tau: float
    needed_tokens: int
    """Tokens without a hard mismatch that a PASS takes."""
    first_bad: tuple[int, int] | None


# --- records from arrays ----------------------------------------------------------------------------------


def family(arrays: Mapping[str, NDArray[Any]]) -> tuple[TokenLogprobs, dict[str, TokenLogprobs]]:
    """The reference and its replicates from the arrays that probes/reference/program.py writes."""
    suffix = "/target_logprobs"
    names = [key.removesuffix(suffix) for key in arrays if key.endswith(suffix)]
    if "reference" not in names:
        raise ValueError("no array reference/target_logprobs: not the output of the reference program")
    runs = {
        name: TokenLogprobs(
            target_logprobs=arrays[name + suffix],
            top_ids=arrays[f"{name}/top_ids"],
            top_logprobs=arrays[f"{name}/top_logprobs"],
        )
        for name in names
    }
    return runs.pop("reference"), runs


def restrict(reference: TokenLogprobs, keep: Flags) -> TokenLogprobs:
    """The reference with only the positions in `keep` [S, N]: a stratum, or what follows a prompt."""
    targets = np.where(keep, reference.target_logprobs, np.nan)
    return msgspec.structs.replace(reference, target_logprobs=targets)


def listed_count(run: TokenLogprobs) -> Ints:
    """[S, N]: how many ids the run lists at each position."""
    return np.asarray((run.top_ids >= 0).sum(axis=-1))


def nonfinite(reference: TokenLogprobs, candidate: TokenLogprobs) -> Flags:
    """[S, N]: valid positions where the candidate gives NaN, an infinity or -9999, in target or list."""
    _same_shape(reference, candidate)
    bad = _not_a_logprob(candidate.target_logprobs)
    bad = bad | (_not_a_logprob(candidate.top_logprobs) & (candidate.top_ids >= 0)).any(axis=-1)
    return np.asarray(bad & _valid(reference))


def _not_a_logprob(values: Floats) -> Flags:
    return np.asarray(~np.isfinite(values) | (values <= UNUSABLE))


def _valid(reference: TokenLogprobs) -> Flags:
    return np.asarray(~np.isnan(reference.target_logprobs))


def _same_shape(reference: TokenLogprobs, other: TokenLogprobs) -> None:
    if other.target_logprobs.shape != reference.target_logprobs.shape:
        shapes = other.target_logprobs.shape, reference.target_logprobs.shape
        raise ValueError(f"{shapes[0]} positions against the reference's {shapes[1]}")


# --- token statistics -------------------------------------------------------------------------------------


def token_kl(reference: TokenLogprobs, candidate: TokenLogprobs, k: Ints | int | None = None) -> TokenKl:
    """Divergence of the candidate from the reference on the reference's k most likely ids and one bin for the
    rest.

        K = sum_{v in R} p_v (ln p_v - ln q_v) + p_T (ln p_T - ln q_T),   p_T = 1 - sum_R p_v,  q_T = 1 -
        sum_R q_v

    An id of R that the engine does not list has at most the least listed probability, and is given just that:
    leaving it out would let an engine whose list shares nothing with the reference's score nought. Where
    nothing is listed (k = 0) the target token alone is R. If the candidate's mass is known on all of R, K is
    the divergence of two coarsened distributions: never negative, never above the full one, never smaller for
    a larger k. With the bound in place of an unlisted id K is an estimate; the replicates go through the same
    coarsening and carry the same error.

    `k`: ids compared at each position, a number or [S, N]; by default as many as both sides list there.
    """
    _same_shape(reference, candidate)
    valid, bad = _valid(reference), nonfinite(reference, candidate)
    depth = np.minimum(listed_count(reference), listed_count(candidate))
    depth = depth if k is None else np.minimum(depth, k)
    ids, p_logs, inside = _best(reference, depth)
    q_ids, q_listed, q_inside = _best(candidate, depth)
    q_logs, found = _look_up(ids, q_ids, q_listed, q_inside)
    p = np.where(inside, np.exp(p_logs), 0.0)
    q = np.where(inside, np.exp(q_logs), 0.0)
    with np.errstate(invalid="ignore"):
        on_list = np.where(inside, p * (p_logs - q_logs), 0.0).sum(axis=-1) + _tail(1 - p.sum(-1), 1 - q.sum(-1))
        p_target, q_target = _as_log(reference.target_logprobs), _as_log(candidate.target_logprobs)
        on_target = np.exp(p_target) * (p_target - q_target) + _tail(-np.expm1(p_target), -np.expm1(q_target))
    kl = np.where(depth > 0, on_list, on_target)
    half = (p * found).sum(axis=-1) < 0.5 * p.sum(axis=-1)
    excess = (np.where(q_inside, np.exp(q_listed), 0.0).sum(axis=-1) > SUM_SLACK) | (q_target > math.log(SUM_SLACK))
    return TokenKl(kl=np.where(valid, np.where(bad, np.inf, kl), np.nan), miss=valid & ((depth > 0) & half | excess))


def _best(run: TokenLogprobs, depth: Ints) -> tuple[Ints, Floats, Flags]:
    """Ids and logprobs [S, N, max depth], descending, and which of them lie within their position's depth."""
    usable = (run.top_ids >= 0) & ~np.isnan(run.top_logprobs)
    values = np.where(usable, run.top_logprobs, -np.inf).astype(np.float64)
    width = int(depth.max(initial=0))
    order = np.argsort(-values, axis=-1, kind="stable")[..., :width]
    inside = np.arange(width) < depth[..., None]
    logs = np.take_along_axis(values, order, axis=-1)
    # A logprob of -inf is counted as non-finite elsewhere; here it must only not spread.
    return np.take_along_axis(run.top_ids, order, axis=-1), np.clip(logs, UNUSABLE, -UNUSABLE / 100), inside


def _look_up(ids: Ints, q_ids: Ints, q_logs: Floats, q_inside: Flags) -> tuple[Floats, Flags]:
    """Candidate's logprob of each id [S, N, k] (its least where it lists the id not), and which it lists."""
    least = np.where(q_inside, q_logs, np.inf).min(axis=-1, keepdims=True, initial=np.inf)
    logs, found = np.broadcast_to(least, ids.shape).copy(), np.zeros(ids.shape, bool)
    for rank in range(q_ids.shape[-1]):
        here = (ids == q_ids[..., rank, None]) & q_inside[..., rank, None] & ~found
        logs = np.where(here, q_logs[..., rank, None], logs)
        found |= here
    return logs, found


def _tail(p: Floats, q: Floats) -> Floats:
    p, q = np.maximum(p, 0.0), np.maximum(q, TAIL_FLOOR)
    return np.asarray(p * (np.log(np.maximum(p, TAIL_FLOOR)) - np.log(q)))


def _as_log(values: Floats) -> Floats:
    return np.clip(np.nan_to_num(values.astype(np.float64), nan=UNUSABLE), UNUSABLE, -UNUSABLE / 100)


def token_difference(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """[S, N]: ln q - ln p of the target; NaN at padding, -inf where the candidate gives no finite number."""
    bad = nonfinite(reference, candidate)
    with np.errstate(invalid="ignore"):
        difference = candidate.target_logprobs.astype(np.float64) - reference.target_logprobs
    return np.where(_valid(reference), np.where(bad, -np.inf, difference), np.nan)


def top_margin(reference: TokenLogprobs) -> Floats:
    """[S, N]: ln p of the most likely id less that of the next; nought where fewer than two are listed."""
    if reference.top_ids.shape[-1] < 2:
        return np.zeros(reference.target_logprobs.shape)
    _, logs, inside = _best(reference, np.minimum(listed_count(reference), 2))
    return np.asarray(np.where(inside.all(axis=-1), logs[..., 0] - logs[..., -1], 0.0))


def flips(reference: TokenLogprobs, candidate: TokenLogprobs) -> Flags:
    """[S, N]: both list something and their most likely ids differ."""
    both = (listed_count(reference) > 0) & (listed_count(candidate) > 0) & _valid(reference)
    if not both.any():
        return np.asarray(both)
    first, other = (_best(run, np.minimum(listed_count(run), 1))[0][..., 0] for run in (reference, candidate))
    return np.asarray(both & (first != other))


# --- the noise --------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """Token statistics of one run, each [S, N]; padding is False or NaN."""

    kl: Floats
    difference: Floats
    miss: Flags
    flip: Flags


class _Noise(NamedTuple):
    """The replicates that agree, under the candidate's coarsening."""

    runs: list[_Run]
    c: float
    tau: float
    repeated: tuple[str, ...]
    dropped: tuple[str, ...]


def _run(reference: TokenLogprobs, run: TokenLogprobs, depth: Ints) -> _Run:
    divergence = token_kl(reference, run, depth)
    # A negative K is rounding, or the bound on an unlisted id; neither brings an engine nearer than exact.
    return _Run(
        np.maximum(divergence.kl, 0.0),
        token_difference(reference, run),
        divergence.miss,
        flips(reference, run) & (depth > 0),
    )


def _noise(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], depth: Ints) -> _Noise:
    for name, replicate in replicates.items():
        if nonfinite(reference, replicate).any():
            raise ValueError(f"replicate {name} is not finite: no verdict can rest on it")
    repeated = _repeated(reference, replicates)
    runs = {name: _run(reference, run, depth) for name, run in replicates.items() if name not in repeated}
    dropped = _disagreeing({name: run.kl for name, run in runs.items()})
    kept = [run for name, run in runs.items() if name not in dropped]
    return _Noise(
        kept,
        _quantile([run.kl for run in kept]),
        _quantile([abs(run.difference) for run in kept]),
        repeated,
        dropped,
    )


def _repeated(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs]) -> tuple[str, ...]:
    """Replicates that equal an earlier one: five copies of one run are one observation of the noise."""
    valid = _valid(reference)
    kept: list[Floats] = []
    repeated: list[str] = []
    for name, run in replicates.items():
        targets = run.target_logprobs[valid]
        if any((targets == other).mean() > SAME_SHARE for other in kept):
            repeated.append(name)
        else:
            kept.append(targets)
    return tuple(repeated)


def _quantile(values: Sequence[Floats]) -> float:
    pooled = np.concatenate([array[~np.isnan(array)] for array in values]) if values else np.zeros(0)
    return float(np.quantile(pooled, NOISE_QUANTILE)) if pooled.size else 0.0


def _disagreeing(kl: Mapping[str, Floats]) -> tuple[str, ...]:
    """Replicates whose score is more than twice, or less than half, the median replicate's.

    Medians, since one wild replicate would make every other one look small against a mean that it rules.
    """
    if len(kl) < MIN_REPLICATES:
        return ()
    cap = float(np.median([_quantile([values]) for values in kl.values()]))
    scores = np.array([_scores(values, cap) for values in kl.values()])
    middle = np.median(scores, axis=0)
    spread = [float(np.exp(_log_ratio(own, middle).mean())) for own in scores]
    return tuple(
        name for name, times in zip(kl, spread, strict=True) if not 1 / REPLICATE_SPREAD <= times <= REPLICATE_SPREAD
    )


def _scores(values: Floats, cap: float) -> Floats:
    """[S]: mean over each sequence's valid positions, winsorised at the cap so that no one token rules it."""
    return np.asarray(np.nanmean(np.minimum(values, cap), axis=1))


def _log_ratio(scores: Floats, noise: Floats) -> Floats:
    """[S]: ln of score over noise score, both raised to a hundredth of the mean noise score (SCORE_FLOOR)."""
    floor = max(SCORE_FLOOR * float(noise.mean()), NOISE_RESOLUTION)
    return np.asarray(np.log(np.maximum(scores, floor) / np.maximum(noise, floor)))


def _estimate(logs: Floats, pass_alpha: float, fail_alpha: float) -> Estimate:
    """Geometric mean of the ratios whose logarithms are given, with t intervals on n - 1 degrees."""
    n = len(logs)
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(n)
    wide, wider = (float(stats.t.ppf(1 - alpha / 2, n - 1)) * error for alpha in (pass_alpha, fail_alpha))
    return Estimate(
        value=math.exp(mean),
        low_pass=math.exp(mean - wide),
        high_pass=math.exp(mean + wide),
        low_fail=math.exp(mean - wider),
        high_fail=math.exp(mean + wider),
    )


# --- side statistics --------------------------------------------------------------------------------------


def rate_excess(flags: Flags, noise: Sequence[Flags], valid: Flags) -> float:
    """One-sided p-value that the candidate's rate of flagged tokens is not above the replicates'.

    Given m flagged tokens in the candidate and M in all J replicates together, m is binomial with chance n /
    (n + J n) if the rates are equal. Flagged tokens cluster in sequences, and at the same hard positions in
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
    return float(special.betainc(m / effect, big_m / noise_effect + 1, trials / (trials + noise_trials)))


def _clustered(counts: Floats, valid: Flags) -> tuple[float, float, float]:
    """Flagged tokens, valid tokens, and the design effect of the clustering by sequence (at least 1)."""
    per_sequence, sizes = (counts * valid).sum(axis=1), valid.sum(axis=1).astype(float)
    total, n, s = float(per_sequence.sum()), float(sizes.sum()), len(sizes)
    if total == 0 or s < 2:
        return total, n, 1.0
    variance = s / (s - 1) * float(((per_sequence - sizes * total / n) ** 2).sum())
    return total, n, max(1.0, variance / total)  # against that of a count of rare events, Poisson


class _Question(NamedTuple):
    """All that the side statistics are asked about."""

    run: _Run
    noise: _Noise
    valid: Flags
    good: float
    fail: float
    margin: Floats
    pass_alpha: float
    fail_alpha: float


def _gross(q: _Question) -> Callable[[_Run], Flags]:
    return lambda run: np.asarray(np.nan_to_num(run.kl, nan=0.0) > q.fail * q.noise.c)


def _hard(q: _Question) -> Callable[[_Run], Flags]:
    return lambda run: np.asarray(run.flip & (q.margin > 2 * q.noise.tau))


def _rate(q: _Question, name: str, flag: Callable[[_Run], Flags], what: str) -> SideStatistic:
    """A side statistic that counts tokens which noise hardly ever flags; their excess alone means FAIL."""
    own, noise = flag(q.run), [flag(run) for run in q.noise.runs]
    p_value = rate_excess(own, noise, q.valid)
    worst: Decision = "FAIL" if p_value < q.fail_alpha else "UNDECIDED" if p_value < q.pass_alpha else "PASS"
    return _counted(q, name, own, noise, p_value, worst, what)


def _tail_rate(
    q: _Question, name: str, values: Callable[[_Run], Floats], limit: float, power: float, what: str
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
    q: _Question, name: str, own: Flags, noise: Sequence[Flags], p_value: float, worst: Decision, what: str
) -> SideStatistic:
    tokens, first = int(q.valid.sum()), _first(own)
    usual = float(np.mean([flags.sum() for flags in noise]))
    sentence = f"{int(own.sum())} of {tokens} tokens {what} (noise: {usual:.3g})"
    return SideStatistic(
        name=name,
        value=float(own.sum()) / tokens,
        noise=usual / tokens,
        p_value=p_value,
        worst=worst,
        sentence=sentence + (f", first at {_place(first)}" if first else ""),
    )


def _worst_sequence(q: _Question, logs: Floats, null: Floats) -> SideStatistic:
    """The sequence with the largest ratio; one broken sequence of 24 moves the mean ratio to 1.2 at most.

    Its null is the spread of the replicates' own log-ratios, each against the others, or the bulk of the
    candidate's (by its median deviation) where that is wider; t with n - 1 degrees, Bonferroni over the
    sequences. Log-ratios of healthy runs have heavier tails than that (1.5 was seen), so a sequence below
    twice the noise never counts.
    """
    row = int(logs.argmax())
    middle = float(np.median(logs))
    spread = max(math.sqrt(float(null.var(axis=1, ddof=1).mean())), 1.4826 * float(np.median(abs(logs - middle))), 1e-6)
    n, times = len(logs), math.exp(float(logs[row]))
    p_value = min(1.0, n * float(stats.t.sf(float(logs[row]) / spread, n - 1)))
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
        sentence=f"sequence {row} is {times:.3g} x the model's own rounding noise",
    )


def _bias(q: _Question, own: Floats, noise: Floats) -> SideStatistic:
    """Mean difference of the target logprobs against the replicates', t over sequences; only ever withholds a
    PASS.

    With many tokens any two kernels differ significantly by nothing that matters, so the difference must also
    exceed g times the largest that one replicate shows against the others.
    """
    gap = own - noise.mean(axis=0)
    others = (noise.sum(axis=0) - noise) / (len(noise) - 1)
    usual = float(abs((noise - others).mean(axis=1)).max())
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap))
    p_value = 2 * float(stats.t.sf(abs(float(gap.mean())) / error, len(gap) - 1)) if error > 0 else 1.0
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


def _first(flags: Flags) -> tuple[int, int] | None:
    """Sequence and position of the first flagged token; column n holds token n + 1."""
    where = np.argwhere(flags)
    return (int(where[0][0]), int(where[0][1]) + 1) if len(where) else None


def _place(where: tuple[int, int]) -> str:
    return f"sequence {where[0]} position {where[1]}"


# --- the verdict ------------------------------------------------------------------------------------------


def judge_ratio(
    reference: TokenLogprobs,
    replicates: Mapping[str, TokenLogprobs],
    candidate: TokenLogprobs,
    *,
    k: int | None = None,
    controls: Sequence[float] = (),
    int8_ratio: float | None = None,
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

    k: ids to compare at a position, at most. An engine that appends the target to its list must be cut to
       the k that it was asked for, or the target's rank would pose as the least listed probability.
    controls: T of healthy models on this engine, frozen; g = max(1.25, min(largest, 1.5)).
    int8_ratio: T of the reference with int8 weights on this model; F = max(3 g, int8_ratio).
    pass_alpha, fail_alpha: two-sided levels, for a caller that corrects over strata.
    Raises ValueError if shapes differ, a replicate is not finite, or a sequence has no valid position.
    """
    good = max(RATIO_GOOD, min(max(controls, default=0.0), RATIO_GOOD_CAP))
    fail = max(FAIL_FACTOR * good, int8_ratio or 0.0)
    _check_occupied(reference)
    valid, bad = _valid(reference), nonfinite(reference, candidate)
    depth = np.minimum(listed_count(reference), np.where(bad, listed_count(reference), listed_count(candidate)))
    depth = np.where(valid, depth if k is None else np.minimum(depth, k), 0)
    noise = _noise(reference, replicates, depth)
    run = _run(reference, candidate, depth)
    obstacle = _obstacle(run, noise)
    if obstacle:
        return _without_ratio(run, noise, bad, good, fail, depth, obstacle)
    side_alpha = pass_alpha / 7  # Bonferroni over the side statistics that follow
    q = _Question(run, noise, valid, good, fail, top_margin(reference), side_alpha, fail_alpha)
    logs, null = _sequence_logs(run, noise)
    logs_d, _ = _sequence_logs_d(run, noise)
    ratio, ratio_d = (_estimate(values, pass_alpha, fail_alpha) for values in (logs, logs_d))
    clipped = [_mean_difference(item, noise.tau) for item in (run, *noise.runs)]
    sides = (
        _rate(
            q,
            "misses",
            lambda item: item.miss,
            "share less than half of the reference's probable tokens, or list more than all probability",
        ),
        _worst_sequence(q, logs, null),
        _rate(q, "gross_tail", _gross(q), f"diverge by over {fail:.3g} x the noise's 99.9% quantile"),
        _rate(q, "hard_flips", _hard(q), "have another top token where the reference is sure"),
        _tail_rate(
            q,
            "tail",
            lambda item: np.nan_to_num(item.kl, nan=0.0),
            noise.c,
            1.0,
            "diverge by more than the noise's 99.9% quantile",
        ),
        _tail_rate(
            q,
            "tail_d",
            lambda item: abs(np.nan_to_num(item.difference, nan=0.0)),
            noise.tau,
            0.5,
            "have a target logprob off by more than the noise's 99.9% quantile",
        ),
        _bias(q, clipped[0], np.array(clipped[1:])),
    )
    decision, sentence = _decide(ratio, ratio_d, sides, bad, good, fail)
    wrong = bad | run.miss | _gross(q)(run) | _hard(q)(run)
    return RatioVerdict(
        decision=decision,
        sentence=sentence,
        ratio=ratio,
        ratio_d=ratio_d,
        limit_good=good,
        limit_fail=fail,
        sequences=len(valid),
        tokens=int(valid.sum()),
        listed=int(depth.max(initial=0)),
        misses=int(run.miss.sum()),
        nonfinite=int(bad.sum()),
        tail_fraction=sides[4].value,
        hard_flips=int(_hard(q)(run).sum()),
        bias=float(clipped[0].mean()),
        worst_sequence=int(logs.argmax()),
        worst_ratio=sides[1].value,
        first_bad=_first(wrong),
        sides=sides,
        repeated=noise.repeated,
        dropped=noise.dropped,
    )


def leave_one_out(
    reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], k: int | None = None
) -> dict[str, RatioVerdict]:
    """Each replicate judged as if it were an engine, against the others: the null case, for each model."""
    return {
        name: judge_ratio(reference, {n: run for n, run in replicates.items() if n != name}, replicate, k=k)
        for name, replicate in replicates.items()
    }


def _check_occupied(reference: TokenLogprobs) -> None:
    """ValueError where a sequence has no valid position, for its mean would be NaN."""
    occupied = _valid(reference).any(axis=1)
    if not occupied.all():
        raise ValueError(f"sequence {int(np.argmin(occupied))} of the reference has no valid position")


def _sequence_logs(run: _Run, noise: _Noise) -> tuple[Floats, Floats]:
    """y [S] of the candidate, and [J, S] of each replicate against the mean of the others."""
    return _logs_of(run.kl, [item.kl for item in noise.runs], noise.c)


def _sequence_logs_d(run: _Run, noise: _Noise) -> tuple[Floats, Floats]:
    """The same from |d|, winsorised at tau for the same reason."""
    return _logs_of(abs(run.difference), [abs(item.difference) for item in noise.runs], noise.tau)


def _logs_of(values: Floats, noise: Sequence[Floats], cap: float) -> tuple[Floats, Floats]:
    scores = np.array([_scores(item, cap) for item in noise])
    others = (scores.sum(axis=0) - scores) / (len(scores) - 1)
    null = np.array([_log_ratio(own, rest) for own, rest in zip(scores, others, strict=True)])
    return _log_ratio(_scores(values, cap), scores.mean(axis=0)), null


def _mean_difference(run: _Run, tau: float) -> Floats:
    return np.asarray(np.nanmean(np.clip(run.difference, -tau, tau), axis=1))


def _obstacle(run: _Run, noise: _Noise) -> str | None:
    """Why no ratio can be formed, if so."""
    if len(noise.runs) < MIN_REPLICATES:
        return f"{len(noise.runs)} replicates agree with each other and {MIN_REPLICATES} are needed"
    if len(run.kl) < 2:
        return f"{len(run.kl)} sequence has no spread to judge by"
    if np.mean([_scores(item.kl, noise.c).mean() for item in noise.runs]) < NOISE_RESOLUTION:
        return "the replicates show no rounding noise, so a ratio to it does not apply (float32 weights?)"
    return None


def _without_ratio(
    run: _Run, noise: _Noise, bad: Flags, good: float, fail: float, depth: Ints, obstacle: str
) -> RatioVerdict:
    first = _first(bad)
    return RatioVerdict(
        decision="FAIL" if first else "UNDECIDED",
        sentence=_nonfinite_sentence(bad) if first else obstacle,
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
        first_bad=_first(bad | run.miss),
        sides=(),
        repeated=noise.repeated,
        dropped=noise.dropped,
    )


def _decide(
    ratio: Estimate, ratio_d: Estimate, sides: Sequence[SideStatistic], bad: Flags, good: float, fail: float
) -> tuple[Decision, str]:
    """The rule, gravest first; the sentence names everything that led to it."""
    estimates = ((ratio, ""), (ratio_d, " in the target logprobs"))
    reasons = [_nonfinite_sentence(bad)] if bad.any() else []
    reasons += [
        _ratio_sentence(e, what, e.low_fail, e.high_fail, "99.9%") for e, what in estimates if e.low_fail > fail
    ]
    reasons += [side.sentence for side in sides if side.worst == "FAIL"]
    if reasons:
        return "FAIL", "; ".join(reasons)
    reasons = [_ratio_sentence(e, what, e.low_fail, e.high_fail, "99.9%") for e, what in estimates if e.low_fail > good]
    reasons += [side.sentence for side in sides if side.worst == "DEGRADED"]
    if reasons:
        return "DEGRADED", "; ".join(reasons)
    plain = _ratio_sentence(ratio, "", ratio.low_pass, ratio.high_pass, "99%")
    reasons = [
        _ratio_sentence(e, what, e.low_pass, e.high_pass, "99%") + f", which reaches above {good:.3g}"
        for e, what in estimates
        if e.high_pass > good
    ]
    reasons += [side.sentence for side in sides if side.worst == "UNDECIDED"]
    return ("UNDECIDED", "; ".join(reasons)) if reasons else ("PASS", plain)


def _ratio_sentence(estimate: Estimate, what: str, low: float, high: float, level: str) -> str:
    return f"{estimate.value:.2g} x the model's own rounding noise{what} ({level} interval {low:.2g}-{high:.2g})"


def _nonfinite_sentence(bad: Flags) -> str:
    first = _first(bad)
    assert first is not None
    more = f" and {int(bad.sum()) - 1} more" if bad.sum() > 1 else ""
    return f"non-finite logprob at {_place(first)}{more}"


# --- text only --------------------------------------------------------------------------------------------


def greedy_margins(reference: TokenLogprobs, replicate: TokenLogprobs) -> Floats:
    """[S, N]: ln p(argmax) - ln p(v) under the reference for the replicate's most likely id v; NaN at
    padding.

    What the margins of a greedy engine with only this rounding noise would be. An id that the reference does
    not list is given the least listed probability, so its margin is a lower bound.
    """
    one = np.minimum(listed_count(replicate), 1)
    chosen, _, _ = _best(replicate, one)
    ids, logs, inside = _best(reference, listed_count(reference))
    own, _ = _look_up(chosen, ids, logs, inside)
    return np.where(_valid(reference), logs[..., 0] - own[..., 0], np.nan)


def generated_margins(reference: TokenLogprobs) -> Floats:
    """[S, N]: ln p(argmax) - ln p(token) under the reference for the tokens themselves; NaN at padding."""
    _, logs, _ = _best(reference, listed_count(reference))
    return np.where(_valid(reference), np.maximum(logs[..., 0] - reference.target_logprobs, 0.0), np.nan)


def noise_tau(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs]) -> float:
    """tau: the 99.9% quantile of the replicates' |difference| of target logprobs, nats."""
    return _quantile([abs(token_difference(reference, run)) for run in replicates.values()])


def judge_margins(
    margins: Floats,
    noise: Sequence[Floats],
    tau: float,
    *,
    rate: float = MARGIN_RATE,
    alpha: float = MARGIN_FAIL_ALPHA,
) -> MarginVerdict:
    """Judge greedily generated ids alone: how often was a token chosen that rounding cannot explain?

    margins: [S, N] of the generated tokens (`generated_margins` with the prompt left out by `restrict`), NaN
    elsewhere. noise: the same of each replicate (`greedy_margins`). A margin over 2 tau is a hard mismatch:
    two logprobs, each off by at most tau, cannot trade places across it. A sequence is counted up to its
    first one, for what follows is the engine's answer to a context of its own making and would count one
    fault many times.

    FAIL       an exact binomial test rejects the replicates' rate h0 (its upper 95% bound) at `alpha`.
    PASS       the exact upper 99% bound of the rate is within h0 + `rate`, and h0 is not rejected at 1%.
    UNDECIDED  otherwise; without any hard mismatch a PASS takes `needed_tokens`.
    The method is that of Token-DiFR at temperature 0 (arXiv 2511.20621).
    """
    hard, tokens, first = _count_margins(margins, tau)
    noise_counts = [_count_margins(item, tau) for item in noise]
    noise_hard, noise_tokens = sum(item[0] for item in noise_counts), sum(item[1] for item in noise_counts)
    h0 = _upper_rate(noise_hard, noise_tokens, 0.05)
    p_value = float(stats.binom.sf(hard - 1, tokens, h0)) if hard else 1.0
    bar = min(1.0, h0 + rate)
    needed = math.ceil(math.log(PASS_ALPHA) / math.log1p(-bar)) if bar < 1 else 0
    usual = f"noise: {noise_hard} of {noise_tokens}"
    said = f"{hard} of {tokens} generated tokens cannot be explained by rounding ({usual})"
    decision: Decision = "UNDECIDED"
    if p_value < alpha:
        decision = "FAIL"
        said += f", first at {_place(first)}" if first else ""
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


def _count_margins(margins: Floats, tau: float) -> tuple[int, int, tuple[int, int] | None]:
    """Hard mismatches (one a sequence at most), tokens up to them, and the first of them."""
    valid = ~np.isnan(margins)
    hard = valid & (margins > 2 * tau)
    before: Flags = np.asarray(np.cumsum(hard, axis=1) - hard == 0)
    counted = valid & before
    return int((hard & before).sum()), int(counted.sum()), _first(hard & before)


def _upper_rate(count: int, trials: int, alpha: float) -> float:
    """Exact (Clopper-Pearson) one-sided upper bound of a rate; 1 without trials."""
    return float(stats.beta.ppf(1 - alpha, count + 1, trials - count)) if trials > count else 1.0
