"""What sequences begin with alike is one event, however many of them share it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from probes import noise_floor as nf
from probes.noise_floor.arbitration import agreement
from tests.probes.noise_floor.synthetic import Array, World

SHARED = 4
"""Columns that chats of one template share."""
CHATS = 6


def blank(valid: nf.Flags) -> nf.TokenLogprobs:
    nothing = np.zeros((*valid.shape, 0))
    targets = np.where(valid, -1.0, np.nan)
    return nf.TokenLogprobs(target_logprobs=targets, top_ids=nothing.astype(int), top_logprobs=nothing)


@given(arrays(np.int32, (5, 4), elements=st.integers(0, 2)), arrays(np.bool_, (5, 3)))
def test_each_context_counts_in_the_first_sequence_that_has_it(token_ids: nf.Ints, valid: nf.Flags) -> None:
    """Every context of a valid position counts exactly once, at its first; nothing else counts."""
    first = nf.first_seen(token_ids, blank(valid))
    contexts = [(tuple(token_ids[row, : column + 1]), (row, column)) for row, column in np.argwhere(valid)]
    wanted = dict(reversed(contexts))
    assert {(row, column) for row, column in np.argwhere(first)} == set(wanted.values())


class Chats(World):
    """Sixteen sequences, the first six of which begin alike: there the model says the same, and so does any run."""

    def __init__(self) -> None:
        super().__init__(4, 16, 127)
        self.logits = self.alike(self.logits)
        self.targets = np.argmax(self.logits, axis=-1)
        self.reference = self.run(self.logits, 32)
        self.token_ids = np.arange(16 * 128).reshape(16, 128)
        self.token_ids[:CHATS, : SHARED + 1] = self.token_ids[0, : SHARED + 1]

    def alike(self, logits: Array) -> Array:
        logits[:CHATS, :SHARED] = logits[0, :SHARED]
        return logits

    def noisy(self, times: float = 1.0) -> Array:
        return self.alike(super().noisy(times))

    def flipped(self) -> nf.TokenLogprobs:
        """A healthy run but for one hard flip in what the chats share."""
        logits = self.noisy()
        best, next_best = np.argsort(-logits[0, 1])[:2]
        logits[:CHATS, 1, next_best] = logits[0, 1, best] + 0.01
        logits[:CHATS, 1, best] -= 0.01
        return self.run(logits)


@pytest.fixture(scope="module")
def chats() -> Chats:
    return Chats()


def test_one_flip_that_six_sequences_share_accuses_nobody(chats: Chats) -> None:
    """Counted six times it would be a FAIL; it is one token, which noise may well flip."""
    replicates, counted = chats.replicates(), nf.first_seen(chats.token_ids, chats.reference)
    six = nf.judge_ratio(chats.reference, replicates, chats.flipped())
    one = nf.judge_ratio(chats.reference, replicates, chats.flipped(), counted=counted)
    assert (six.decision, six.hard_flips) == ("FAIL", CHATS)
    assert (one.hard_flips, one.tokens) == (1, 16 * 127 - (CHATS - 1) * (SHARED + 1))
    assert one.decision in ("PASS", "UNDECIDED")


def test_what_does_not_count_is_as_if_it_were_not_there(chats: Chats) -> None:
    """The verdict is that of sequences without it."""
    replicates, counted = chats.replicates(), nf.first_seen(chats.token_ids, chats.reference)
    candidate = chats.run(chats.noisy())
    assert nf.judge_ratio(chats.reference, replicates, candidate, counted=counted) == nf.judge_ratio(
        nf.restrict(chats.reference, counted), replicates, candidate
    )


def test_a_number_that_is_none_fails_wherever_it_stands(chats: Chats) -> None:
    """A cache of prefixes may break the second use of one alone."""
    counted = nf.first_seen(chats.token_ids, chats.reference)
    candidate = chats.run(chats.noisy())
    candidate.target_logprobs[3, 2] = np.nan
    verdict = nf.judge_ratio(chats.reference, chats.replicates(), candidate, counted=counted)
    assert not counted[3, 2]
    assert (verdict.decision, verdict.sentence) == ("FAIL", "non-finite logprob at sequence 3 position 3")


def test_a_sequence_that_is_another_s_beginning_is_left_out(chats: Chats) -> None:
    """It says nothing of its own; the others keep their numbers, and a number that is none fails in it too."""
    token_ids = chats.token_ids.copy()
    token_ids[9] = token_ids[2]
    counted = nf.first_seen(token_ids, chats.reference)
    logits = chats.noisy()
    logits[12] = logits[12, ::-1]
    verdict = nf.judge_ratio(chats.reference, chats.replicates(), chats.run(logits), counted=counted)
    assert (verdict.sequences, verdict.worst_sequence, verdict.first_bad) == (15, 12, (12, 1))
    assert "sequence 12 is" in verdict.sentence
    (misses,) = (side for side in verdict.sides if side.name == "misses")
    assert misses.sentence.endswith("first at sequence 12 position 1")
    lost = chats.run(chats.noisy())
    lost.target_logprobs[9, 5] = np.nan
    verdict = nf.judge_ratio(chats.reference, chats.replicates(), lost, counted=counted)
    assert (verdict.decision, verdict.first_bad) == ("FAIL", (9, 6))


def test_two_engines_are_compared_where_it_counts(chats: Chats) -> None:
    """As if nothing else were there."""
    token_ids = chats.token_ids.copy()
    token_ids[9] = token_ids[2]
    counted = nf.first_seen(token_ids, chats.reference)
    replicates, one, other = chats.replicates(), chats.run(chats.noisy()), chats.run(chats.noisy())
    others = np.delete(np.arange(16), 9)
    found = agreement(chats.reference, replicates, one, other, counted=counted, k=20)
    assert found is not None and found == agreement(
        nf.restrict(nf.rows(chats.reference, others), counted[others]),
        {name: nf.rows(run, others) for name, run in replicates.items()},
        nf.rows(one, others),
        nf.rows(other, others),
        k=20,
    )


def test_padding_begins_nothing(chats: Chats) -> None:
    """A context counts in the first sequence that has a token after it."""
    targets = chats.reference.target_logprobs.copy()
    targets[0, 2:] = np.nan
    short = msgspec.structs.replace(chats.reference, target_logprobs=targets)
    first = nf.first_seen(chats.token_ids, short)
    assert first[0].tolist() == [True, True] + 125 * [False]
    assert first[1].tolist() == [False, False] + 125 * [True]
