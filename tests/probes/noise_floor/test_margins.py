"""Generated text alone."""

from __future__ import annotations

import numpy as np

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import World, shifted


def margins(world: World, replicates: dict[str, nf.TokenLogprobs]) -> tuple[list[nf.Floats], float]:
    noise = [nf.greedy_margins(world.reference, run) for run in replicates.values()]
    return noise, nf.noise_tau(world.reference, replicates)


def test_greedy_text_with_only_rounding_passes(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Near-ties fall either way and count for nothing; the sentence says on how many tokens it rests."""
    noise, tau = margins(world, replicates)
    verdict = nf.judge_margins(nf.greedy_margins(world.reference, world.run(world.noisy())), noise, tau)
    assert verdict.decision == "PASS"
    assert f"of {verdict.tokens} generated tokens" in verdict.sentence and verdict.tokens > 4000


def test_greedy_text_of_another_model_fails_at_once(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Each sequence is counted up to its first hard mismatch, and that is enough."""
    noise, tau = margins(world, replicates)
    verdict = nf.judge_margins(nf.greedy_margins(world.reference, world.run(shifted(world))), noise, tau)
    assert verdict.decision == "FAIL"
    assert verdict.hard == 32 and verdict.tokens < 400 and verdict.first_bad is not None


def test_little_text_is_undecided(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """A hundred right tokens prove nothing; the sentence says how many would."""
    noise, tau = margins(world, replicates)
    verdict = nf.judge_margins(np.zeros((1, 100)), noise, tau)
    assert verdict.decision == "UNDECIDED"
    assert 500 < verdict.needed_tokens < 1000 and f"takes {verdict.needed_tokens} tokens" in verdict.sentence
    assert nf.judge_margins(np.zeros((1, verdict.needed_tokens)), noise, tau).decision == "PASS"
    assert nf.judge_margins(np.zeros((1, verdict.needed_tokens - 1)), noise, tau).decision == "UNDECIDED"
    assert nf.judge_margins(np.full((4, 9), np.nan), noise, tau).decision == "UNDECIDED"


def test_margins_of_generated_tokens_are_never_negative(world: World) -> None:
    """ln p(argmax) - ln p(token) is nought for the argmax and positive for any other."""
    found = nf.generated_margins(world.reference)
    best = world.targets == world.logits.argmax(axis=-1)
    assert (found[best] < 1e-6).all() and (found[~best] > 0).all()


def test_an_engines_own_rate_counts_up_to_a_limit(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Three hard mismatches in 1500 tokens withhold a PASS, unless healthy models show as many on this engine."""
    noise, tau = margins(world, replicates)
    found = np.zeros((15, 100))
    found[[2, 7, 11], 99] = 3 * tau
    assert nf.judge_margins(found, noise, tau).decision == "UNDECIDED"
    assert nf.judge_margins(found, noise, tau, control=0.002).decision == "PASS"
    found[:, 60] = 3 * tau
    assert nf.judge_margins(found, noise, tau, control=0.5).decision == "FAIL"
