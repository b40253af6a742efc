"""When there is too little noise, or too little data, to judge by."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from probes import noise_floor as nf
from probes.noise_floor.noise import null_log_ratios, weighted_log_ratio
from tests.probes.noise_floor.synthetic import LISTED, World


def test_too_little_data_cannot_pass(world: World) -> None:
    """Three sequences of a healthy engine: UNDECIDED, since PASS is a claim."""
    small = World(3, 3, 10)
    verdict = nf.judge_ratio(small.reference, small.replicates(), small.run(small.noisy()))
    assert verdict.decision == "UNDECIDED"


def test_without_noise_a_ratio_does_not_apply(world: World) -> None:
    """Replicates that equal the reference (float32 weights) give no floor: UNDECIDED; NaN is still FAIL."""
    exact = {
        f"{j}": world.run(world.logits + 1e-6 * world.random.standard_normal(world.logits.shape), LISTED)
        for j in range(5)
    }
    run = world.run(world.noisy())
    verdict = nf.judge_ratio(world.reference, exact, run)
    assert (verdict.decision, verdict.ratio) == ("UNDECIDED", None)
    assert "float32" in verdict.sentence
    lost = msgspec.structs.replace(run, target_logprobs=run.target_logprobs * np.nan)
    assert nf.judge_ratio(world.reference, exact, lost).decision == "FAIL"


def test_copies_of_a_replicate_count_once(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Kernels that give the same bits are one observation of the noise; below three none can be judged."""
    first, second, *_ = replicates.values()
    verdict = nf.judge_ratio(world.reference, {"a": first, "b": first, "c": second, "d": second}, first)
    assert (verdict.decision, verdict.repeated) == ("UNDECIDED", ("b", "d"))


def test_a_replicate_far_off_the_others_is_dropped(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """A faulty kernel under the reference must not widen the noise: dropped, named, and the rest decides."""
    family = {**replicates, "broken": world.run(world.noisy(30), LISTED)}
    verdict = nf.judge_ratio(world.reference, family, world.run(world.noisy(10)))
    assert (verdict.decision, verdict.dropped) == ("FAIL", ("broken",))
    problem = "; reference problem: broken disagrees with the other replicates by over 2 x, left out"
    assert verdict.sentence.endswith(problem)
    assert nf.judge_ratio(world.reference, family, world.run(world.noisy())).sentence.endswith(problem)


# --- weights ----------------------------------------------------------------------------------------------


def test_a_noisy_token_counts_for_less() -> None:
    """Noise 1 and 3 at two tokens, mean 2: weights 2/3 and 2/5. A run at 2 and 3 has the score 4/3 + 6/5."""
    noise = [np.array([[1.0, 3.0], [1.0, 3.0]])] * 3
    found = weighted_log_ratio(np.array([[2.0, 3.0], [1.0, 3.0]]), noise, cap=9.0)
    usual = 1 * 2 / 3 + 3 * 2 / 5
    assert found == pytest.approx([np.log((2 * 2 / 3 + 3 * 2 / 5) / usual), 0.0])


def test_padding_weighs_nothing() -> None:
    """NaN where a sequence has ended: the mean is of the tokens that are there."""
    noise = [np.array([[1.0, np.nan], [1.0, 3.0]])] * 3
    assert weighted_log_ratio(np.array([[2.0, np.nan], [1.0, 3.0]]), noise, cap=9.0) == pytest.approx([np.log(2), 0.0])


@pytest.mark.parametrize("replicates", [3, 5])
def test_a_run_that_had_no_part_in_the_weights_is_not_wronged(replicates: int) -> None:
    """Tokens whose noise differs by orders of magnitude: a sixth run lies where each of five lies against the others,
    within 2%. With one set of weights from all of them it would lie 11 to 23% higher."""
    random = np.random.default_rng(5)
    levels = np.exp(2 * random.standard_normal((4000, 30)))
    own, *noise = (levels * random.gamma(0.5, 2, levels.shape) for _ in range(replicates + 1))
    cap = float(np.quantile(noise, 0.999))
    held_out, null = weighted_log_ratio(own, noise, cap).mean(), null_log_ratios(noise, cap).mean()
    assert held_out == pytest.approx(null, abs=0.02)
