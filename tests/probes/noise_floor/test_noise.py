"""When there is too little noise, or too little data, to judge by."""

from __future__ import annotations

import msgspec
import numpy as np

from probes import noise_floor as nf
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
