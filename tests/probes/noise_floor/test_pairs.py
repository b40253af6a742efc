"""An engine against itself: two roundings pass, whatever the reference says; one bad answer among forty does not."""

from __future__ import annotations

import numpy as np
import pytest

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import Array, World

SEEDS = range(12)


def pair(world: World, first: Array, second: Array, strata: int = 10) -> nf.RatioVerdict:
    """The second answer, held against the first."""
    return nf.judge_ratio(
        world.reference, world.replicates(), world.run(second), baseline=world.run(first), k=20, strata=strata
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_two_roundings_with_nothing_in_common_pass(seed: int) -> None:
    """Eight prompts of sixteen tokens suffice, at the level that ten ways share."""
    world = World(seed, sequences=8, columns=16)
    assert pair(world, world.noisy(), world.noisy()).decision == "PASS"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_answer_passes(seed: int) -> None:
    """Bits that are equal are no ratio of nought to nought."""
    world = World(seed, sequences=8, columns=16)
    answer = world.noisy()
    found = pair(world, answer, answer)
    assert found.decision == "PASS"
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_reference_says_does_not_matter(seed: int) -> None:
    """An engine that is wrong in every way alike is one with itself."""
    world = World(seed, sequences=8, columns=16)
    wrong = np.roll(world.logits, 5, axis=-1)
    noise = [world.noisy() - world.logits for _ in range(2)]
    assert pair(world, wrong + noise[0], wrong + noise[1]).decision == "PASS"


@pytest.mark.parametrize("seed", SEEDS)
def test_one_swapped_answer_among_forty_is_found(seed: int) -> None:
    """All others are as they should be."""
    world = World(seed, sequences=40, columns=8)
    second = world.noisy()
    second[7] = world.noisy()[8]
    found = pair(world, world.noisy(), second, strata=3)
    assert (found.decision, found.worst_sequence) == ("FAIL", 7)


def test_partings_are_counted_against_chance() -> None:
    """One in a thousand tokens may part by rounding; three in a hundred may not."""
    assert nf.judge_partings(0, 4, 320).decision == "PASS"
    assert nf.judge_partings(1, 4, 320).decision == "UNDECIDED"
    assert nf.judge_partings(5, 5, 320).decision == "FAIL"


def test_float32_is_held_against_its_own_first_answer() -> None:
    """Its tolerance is the replicates'; both answers may be far from the reference."""
    world = World(3, sequences=8, columns=16)
    replicates = {name: world.run(world.logits + 1e-6 * world.noisy()) for name in ("a", "b", "c")}
    wrong = np.roll(world.logits, 5, axis=-1)
    cold, warm = world.run(wrong), world.run(wrong + 1e-6 * world.noisy())
    assert nf.judge_float32(world.reference, replicates, warm, baseline=cold).decision == "PASS"
    assert nf.judge_float32(world.reference, replicates, warm).decision == "FAIL"
    other = world.run(world.logits)
    assert nf.judge_float32(world.reference, replicates, other, baseline=cold).decision == "FAIL"
