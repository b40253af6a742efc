"""Engines with no more than the model's own rounding noise."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import LISTED, Array, Judge, World


def test_sequences_have_no_order(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Reordering the sequences changes no number but the names of sequences."""
    order = np.random.default_rng(0).permutation(32)

    def reordered(run: nf.TokenLogprobs) -> nf.TokenLogprobs:
        return nf.TokenLogprobs(
            target_logprobs=run.target_logprobs[order],
            top_ids=run.top_ids[order],
            top_logprobs=run.top_logprobs[order],
        )

    candidate = world.run(world.noisy(1.1))
    plain = nf.judge_ratio(world.reference, replicates, candidate)
    other = nf.judge_ratio(
        reordered(world.reference),
        {name: reordered(run) for name, run in replicates.items()},
        reordered(candidate),
    )
    assert plain.decision == other.decision
    assert plain.ratio is not None and other.ratio is not None
    assert plain.ratio.value == pytest.approx(other.ratio.value)
    assert [side.p_value for side in plain.sides] == pytest.approx([side.p_value for side in other.sides])
    assert plain.worst_sequence is not None and plain.worst_sequence == order[other.worst_sequence]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**20), times=st.sampled_from([1.0, 2.5, 9.0]))
def test_tokens_of_a_sequence_have_no_order(seed: int, times: float) -> None:
    """Permuting the tokens within their sequences, the same way on all sides, changes no number of the verdict."""
    world = World(seed, 12, 40)
    order = np.argsort(world.random.random((12, 40)), axis=1)

    def permuted(run: nf.TokenLogprobs) -> nf.TokenLogprobs:
        def moved(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.take_along_axis(array, order.reshape(*order.shape, *[1] * (array.ndim - 2)), axis=1)

        fields = {name: moved(getattr(run, name)) for name in nf.TokenLogprobs.__struct_fields__}
        return nf.TokenLogprobs(**fields)

    candidate, replicates = world.run(world.noisy(times)), world.replicates()
    plain = nf.judge_ratio(world.reference, replicates, candidate)
    other = nf.judge_ratio(
        permuted(world.reference), {name: permuted(run) for name, run in replicates.items()}, permuted(candidate)
    )
    assert plain.decision == other.decision
    assert plain.ratio is not None and other.ratio is not None
    assert plain.ratio.value == pytest.approx(other.ratio.value)
    assert [side.p_value for side in plain.sides] == pytest.approx([side.p_value for side in other.sides])


def test_more_strata_ask_for_more_to_accuse_and_for_no_more_to_pass(world: World, judge: Judge) -> None:
    """The bounds that a PASS rests on stay; those that an accusation rests on widen with the number of strata."""
    candidate = world.run(world.noisy(1.5))
    replicates = world.replicates()
    alone, among = (nf.judge_ratio(world.reference, replicates, candidate, strata=strata) for strata in (1, 4))
    assert alone.ratio is not None and among.ratio is not None
    assert alone.ratio.high_pass == among.ratio.high_pass
    assert alone.ratio.low_fail > among.ratio.low_fail


def test_the_same_noise_passes_and_says_so(world: World, judge: Judge) -> None:
    """A candidate with the replicates' own noise: PASS, in a sentence that a reader understands."""
    verdict = judge(world.run(world.noisy()))
    assert verdict.decision == "PASS"
    assert "x the model's own rounding noise (99% bounds" in verdict.sentence
    assert verdict.listed == 20 and verdict.first_bad is None


@pytest.mark.parametrize(("listed", "least"), [(20, 23), (5, 23), (1, 19), (0, 15)])
def test_healthy_engines_pass_whatever_they_list(listed: int, least: int) -> None:
    """Synthetic noise of the replicates' size over 25 seeds: none is accused, and nearly all PASS at the
    first look.

    The less an engine lists, the less 1600 tokens say: with one id or none more of them are UNDECIDED.
    """
    decisions = []
    for seed in range(25):
        world = World(1000 + seed, 16, 100)
        decisions.append(nf.judge_ratio(world.reference, world.replicates(), world.run(world.noisy(), listed)).decision)
    assert set(decisions) <= {"PASS", "UNDECIDED"}
    assert decisions.count("PASS") >= least


def test_leave_one_out_never_accuses_a_replicate(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Each replicate against the others passes."""
    for name, run in replicates.items():
        others = {other: values for other, values in replicates.items() if other != name}
        assert nf.judge_ratio(world.reference, others, run, k=20).decision == "PASS"


def test_an_exact_engine_passes(world: World, judge: Judge) -> None:
    """Nearer than the noise (float32 kernels, say) is no fault."""
    verdict = judge(world.run(world.logits))
    assert verdict.decision == "PASS"
    assert verdict.ratio is not None and verdict.ratio.value < 0.1


def test_a_sequence_without_noise_gives_no_infinite_ratio(world: World) -> None:
    """A sequence that the replicates reproduce exactly is judged against a hundredth of the mean noise."""

    def silenced(logits: Array) -> Array:
        return np.concatenate([world.logits[:1], logits[1:]])

    replicates = {f"{j}": world.run(silenced(world.noisy()), LISTED) for j in range(5)}
    healthy = nf.judge_ratio(world.reference, replicates, world.run(silenced(world.noisy())))
    assert healthy.decision == "PASS"
    broken = nf.judge_ratio(world.reference, replicates, world.run(world.noisy()))
    assert np.isfinite(broken.worst_ratio) and broken.worst_sequence == 0
    assert b"null" not in msgspec.json.encode(broken.sides)  # how JSON would show a NaN
