"""The rules that others judge by, each as a statistic of two runs, with the threshold that its authors published.

Those tests were made for what an engine generates; here they see what it says of given tokens, the same for all rules.
What that changes is said at each rule. All of them compare with the float32 reference, where their authors take
transformers in 16 bits: that is to their advantage, for the other side's rounding is not in the difference.

Every rule is a number a sequence, and how the numbers of several sequences become one; larger is worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from probes.noise_floor import Flags, Floats, Ints, TokenLogprobs
from probes.noise_floor.logprobs import most_likely, valid_positions

VLLM_LISTED = 5
"""`num_logprobs` of nearly all callers."""
SGLANG_LISTED = 5
"""NUM_TOP_LOGPROBS of python/sglang/test/runners.py."""
SGLANG_PROMPT = 100
"""Of longer prompts SGLang's test compares no logprobs; of ours it sees as many tokens."""


class Rule(NamedTuple):
    """A rule of somebody else's."""

    name: str
    sequences: Callable[[TokenLogprobs, TokenLogprobs], Floats]
    """[S] of reference and candidate."""
    together: Literal["mean", "max"]
    threshold: float
    """As published: from here on it does not pass."""
    source: str

    def of(self, values: Floats) -> float:
        """The statistic of several sequences."""
        return float(values.mean() if self.together == "mean" else values.max())

    def statistic(self, reference: TokenLogprobs, candidate: TokenLogprobs) -> float:
        """The statistic of two runs."""
        return self.of(self.sequences(reference, candidate))


def _best(run: TokenLogprobs, count: int) -> tuple[Ints, Floats]:
    depth = np.full(run.target_logprobs.shape, min(count, run.top_ids.shape[-1]))
    ids, logs, _ = most_likely(run, depth)
    return ids, logs


def check_logprobs_close(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """vLLM: at a sequence's first mismatch, is either side's token missing from the other's five? 1 or 0.

    There both sides generate 64 tokens greedily and are compared up to the first token that differs; a test passes if
    no prompt has such a mismatch. Here both sides read the same text, and the first position where their most likely
    tokens differ takes that place. Its magnitude, and all that follows it, is looked at nowhere, as there.
    """
    (ours, _), (theirs, _) = _best(reference, VLLM_LISTED), _best(candidate, VLLM_LISTED)
    differ = (ours[..., 0] != theirs[..., 0]) & valid_positions(reference)
    first = differ & (differ.cumsum(axis=1) == 1)
    known = (theirs == ours[..., :1]).any(axis=-1) & (ours == theirs[..., :1]).any(axis=-1)
    return np.asarray((first & ~known).any(axis=1).astype(float))


def top_logprob_difference(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """SGLang: largest |difference| of the five largest logprobs, sorted, whatever ids they belong to; nats.

    There the prompts and 32 generated tokens are compared, in float16; here only given tokens.
    """
    (_, ours), (_, theirs) = _best(reference, SGLANG_LISTED), _best(candidate, SGLANG_LISTED)
    largest = abs(ours - theirs).max(axis=-1)
    return np.asarray(np.where(valid_positions(reference), largest, 0.0)[:, :SGLANG_PROMPT].max(axis=1))


def one_less_rouge_l(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """SGLang: 1 - ROUGE-L of the two texts.

    There of the letters of 32 tokens generated greedily; here of the most likely tokens at each position of the given
    text. Both fall short of 1 as soon as one token differs; there all that follows differs too, so that the distance
    from 1 is larger than here.
    """
    ours, theirs = _best(reference, 1)[0][..., 0], _best(candidate, 1)[0][..., 0]
    valid = valid_positions(reference)
    common = _common_subsequence(np.where(valid, ours, -1), np.where(valid, theirs, -1), valid)
    return np.asarray(1 - common / valid.sum(axis=1))  # both have one length: precision, recall and F are the same


def _common_subsequence(one: Ints, other: Ints, valid: Flags) -> Ints:
    """[S]: length of the longest common subsequence, by dynamic programming over rows of all sequences at once."""
    lengths = np.zeros((len(one), one.shape[1] + 1), int)
    for column in range(one.shape[1]):
        same = (one[:, column, None] == other) & valid & valid[:, column, None]
        taken = np.concatenate([lengths[:, :1], np.maximum(lengths[:, 1:], lengths[:, :-1] + same)], axis=1)
        lengths = np.maximum.accumulate(taken, axis=1)
    return np.asarray(lengths[:, -1])


def last_token_nmse(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """llama.cpp: mean squared difference over the reference's variance, at the last token.

    There of the logits of the whole vocabulary after one prompt; here of the logprobs of the ids that either side
    lists, an unlisted one taken at the least listed, and the mean over sequences. Logprobs differ from logits by a
    constant, which changes the difference, and listed ones vary less than all: the scale is not quite the original's.
    """
    last = [int(np.flatnonzero(row)[-1]) for row in valid_positions(reference)]
    return np.array([_nmse(_listed(reference, s, n), _listed(candidate, s, n)) for s, n in enumerate(last)])


def _listed(run: TokenLogprobs, row: int, column: int) -> dict[int, float]:
    ids, logs = run.top_ids[row, column], run.top_logprobs[row, column]
    return {int(i): float(x) for i, x in zip(ids, logs, strict=True) if i >= 0}


def _nmse(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float:
    both = sorted({*ours, *theirs})
    one = np.array([ours.get(i, min(ours.values())) for i in both])
    other = np.array([theirs.get(i, min(theirs.values())) for i in both])
    return float(((one - other) ** 2).mean() / one.var())


def mismatch_kl(reference: TokenLogprobs, candidate: TokenLogprobs) -> Floats:
    """prime-rl: k3 = e^r - r - 1 of the given tokens, r = ln p - ln q with the trainer's p and the engine's q; nats.

    There of tokens that the engine sampled, for which it is an unbiased estimate of KL(q || p); here of given ones.
    """
    ratio = reference.target_logprobs.astype(np.float64) - candidate.target_logprobs
    # Beyond e^50 it is wrong by any measure, and a mean of several must stay a number.
    return np.asarray(np.nanmean(np.exp(np.minimum(ratio, 50.0)) - ratio - 1, axis=1))


ANY = float(np.nextafter(0, 1))
"""The threshold of rules that bear nothing at all."""

RULES = (
    Rule("vLLM check_logprobs_close", check_logprobs_close, "mean", ANY, "vllm tests/models/utils.py"),
    Rule(
        "SGLang tolerance", top_logprob_difference, "max", 5e-2,
        "sglang test/registered/models/test_generation_models.py, prefill_tolerance",
    ),
    Rule("SGLang ROUGE-L", one_less_rouge_l, "max", ANY, "the same, rouge_l_tolerance = 1"),
    Rule(
        "llama.cpp NMSE", last_token_nmse, "mean", 1e-2,
        "llama.cpp examples/model-conversion/scripts/utils/check-nmse.py",
    ),
    Rule(
        "prime-rl mismatch_kl", mismatch_kl, "mean", 0.015,
        "prime-rl docs/development.md; src/prime_rl/trainer/rl/loss.py",
    ),
)  # fmt: skip


def statistics(reference: TokenLogprobs, candidate: TokenLogprobs) -> dict[str, Floats]:
    """[S] of every rule by its name."""
    return {rule.name: rule.sequences(reference, candidate) for rule in RULES}


def published(values: Mapping[str, float]) -> dict[str, bool]:
    """Which rules reject, at their authors' thresholds; SGLang's two are one test there."""
    rejects = {rule.name: values[rule.name] >= rule.threshold for rule in RULES}
    return {**rejects, "SGLang, both": rejects["SGLang tolerance"] or rejects["SGLang ROUGE-L"]}


def shortened(run: TokenLogprobs, count: int) -> TokenLogprobs:
    """The run as an engine tells it that lists `count` ids."""
    ids, logs = _best(run, count)
    return TokenLogprobs(target_logprobs=run.target_logprobs, top_ids=ids, top_logprobs=logs)


def chosen(run: TokenLogprobs, rows: Any) -> TokenLogprobs:
    """Some of the sequences, in the order given."""
    which = list(rows)
    return TokenLogprobs(
        target_logprobs=run.target_logprobs[which],
        top_ids=run.top_ids[which],
        top_logprobs=run.top_logprobs[which],
    )
