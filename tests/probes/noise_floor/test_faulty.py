"""Engines that are wrong, everywhere or only here and there."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import VOCABULARY, Array, Judge, World, shifted


@pytest.mark.parametrize("times", [2.0, 2.5])
def test_more_noise_than_allowed_is_degraded(world: World, judge: Judge, times: float) -> None:
    """Between g = 1.25 and F = 3.75 times the noise: DEGRADED, with the ratio in the sentence."""
    verdict = judge(world.run(world.noisy(times)))
    assert verdict.decision == "DEGRADED"
    assert verdict.ratio is not None and verdict.ratio.value == pytest.approx(times, rel=0.15)


def test_far_more_noise_fails(world: World, judge: Judge) -> None:
    """Ten times the noise: FAIL by the ratio."""
    verdict = judge(world.run(world.noisy(10)))
    assert verdict.decision == "FAIL"
    assert "x the model's own rounding noise (99.9% interval" in verdict.sentence


def test_controls_and_int8_move_the_bounds(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """g lies 15% above the largest control, up to 1.5, F follows 3 g and the int8 ratio."""
    candidate = world.run(world.noisy())
    for controls, int8, wanted in (
        ((), None, (1.25, 3.75)),
        ((1.1, 1.2), None, (1.38, 4.14)),
        ((9.0,), 6.0, (1.5, 6.0)),
    ):
        verdict = nf.judge_ratio(world.reference, replicates, candidate, controls=controls, int8_ratio=int8)
        assert (verdict.limit_good, verdict.limit_fail) == pytest.approx(wanted)


def broken_at(world: World, where: NDArray[np.bool_]) -> Array:
    return np.where(where[..., None], shifted(world), world.noisy())


def sequences(world: World, *rows: int) -> NDArray[np.bool_]:
    where = np.zeros(world.targets.shape, bool)
    where[list(rows)] = True
    return where


def every(world: World, step: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(world.targets.size).reshape(world.targets.shape) % step == step // 2)


def halved_tail(world: World) -> Array:
    """Right order and proportions in the first twenty ids, half the mass behind them."""
    logits = world.noisy()
    cut = np.sort(logits, axis=-1)[..., -20, None]
    return np.where(logits < cut, logits - np.log(2), logits)


GARBAGE: dict[str, Callable[[World], Array]] = {
    "permuted vocabulary": lambda world: world.noisy()[..., np.random.default_rng(7).permutation(VOCABULARY)],
    "uniform": lambda world: 1e-6 * world.random.standard_normal(world.logits.shape),
    "another model": lambda world: World(99).logits,
    "shifted by one": shifted,
    "constant": lambda world: np.broadcast_to(world.logits[0, 0], world.logits.shape),
    "one bad sequence": lambda world: broken_at(world, sequences(world, 7)),
    "two bad sequences": lambda world: broken_at(world, sequences(world, 7, 20)),
    "one bad token in 500": lambda world: broken_at(world, every(world, 500)),
    "tail mass halved": halved_tail,
    "temperature 0.8": lambda world: world.noisy() / 0.8,
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("listed", [20, 5])
def test_garbage_fails(world: World, judge: Judge, name: str, listed: int) -> None:
    """Every engine that is plainly wrong, everywhere or only here and there, gets FAIL."""
    verdict = judge(world.run(GARBAGE[name](world), listed))
    assert verdict.decision == "FAIL", verdict.sentence


@pytest.mark.parametrize("name", ["uniform", "another model", "shifted by one", "one bad sequence"])
def test_garbage_fails_without_lists(world: World, judge: Judge, name: str) -> None:
    """Target logprobs alone are enough to find gross faults."""
    assert judge(world.run(GARBAGE[name](world), 0)).decision == "FAIL"


def test_one_bad_sequence_of_24_fails_and_is_named() -> None:
    """The mean ratio stays near 1; the worst sequence does not."""
    world = World(5, 24)
    verdict = nf.judge_ratio(world.reference, world.replicates(), world.run(broken_at(world, sequences(world, 11))))
    assert verdict.decision == "FAIL"
    assert verdict.ratio is not None and verdict.ratio.value < 1.25
    assert verdict.worst_sequence == 11 and "sequence 11 is " in verdict.sentence
    assert verdict.first_bad is not None and verdict.first_bad[0] == 11


def test_a_right_list_with_halved_targets_behind_it_fails(world: World, judge: Judge) -> None:
    """Right lists while unlisted targets get half their probability: found by the targets."""
    healthy = world.run(world.noisy())
    listed = (healthy.top_ids == world.targets[..., None]).any(axis=-1)
    targets = np.where(listed, healthy.target_logprobs, healthy.target_logprobs - np.log(2))
    verdict = judge(msgspec.structs.replace(healthy, target_logprobs=targets))
    assert verdict.decision == "FAIL"
    assert "target logprob" in verdict.sentence


def test_raw_logits_fail(world: World, judge: Judge) -> None:
    """Numbers whose exponentials sum to more than 1 are no logprobs, however well ordered."""
    run = world.run(world.noisy())
    verdict = judge(
        nf.TokenLogprobs(
            target_logprobs=run.target_logprobs + 9, top_ids=run.top_ids, top_logprobs=run.top_logprobs + 9
        )
    )
    assert verdict.decision == "FAIL" and verdict.misses == verdict.tokens


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -9999.0])
@pytest.mark.parametrize("field", ["target_logprobs", "top_logprobs"])
def test_one_unusable_number_fails_and_is_placed(world: World, judge: Judge, field: str, value: float) -> None:
    """NaN, an infinity or -9999 is a finding: FAIL, with sequence and position (token index)."""
    run = world.run(world.noisy())
    array = getattr(run, field).copy()
    array[(3, 7) if field == "target_logprobs" else (3, 7, 2)] = value
    verdict = judge(msgspec.structs.replace(run, **{field: array}))
    assert (verdict.decision, verdict.nonfinite, verdict.first_bad) == ("FAIL", 1, (3, 8))
    assert "non-finite logprob at sequence 3 position 8" in verdict.sentence


def test_nothing_finite_at_all_fails(world: World, judge: Judge) -> None:
    """An engine that answers with NaN everywhere gets a verdict, not an exception."""
    run = world.run(world.noisy())
    verdict = judge(
        nf.TokenLogprobs(
            target_logprobs=run.target_logprobs * np.nan,
            top_ids=run.top_ids,
            top_logprobs=run.top_logprobs * np.nan,
        )
    )
    assert verdict.decision == "FAIL" and verdict.nonfinite == verdict.tokens
