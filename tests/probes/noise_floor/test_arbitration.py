"""REF-SUSPECT: who agrees with whom against the reference, and whose agreement says something."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from probes import noise_floor as nf
from probes.noise_floor.arbitration import Agreement, Suspicion, agreement, differs, suspects
from tests.probes.noise_floor.synthetic import Array, World, shifted

Replicates = dict[str, nf.TokenLogprobs]
LINEAGES = {"vllm": "vllm", "sglang": "vllm", "llama": "llama.cpp", "transformers": "transformers"}


def fault(world: World, seed: int, times: float = 3.0) -> Array:
    """The same wrong logits in every run that has it, `times` the noise in divergence."""
    random = np.random.default_rng(seed)
    return np.asarray(np.sqrt(times) * world.size * random.standard_normal(world.logits.shape))


def engine(world: World, wrong: Array | float = 0.0, listed: int = 20) -> nf.TokenLogprobs:
    """An engine with rounding noise of its own and a fault."""
    return world.run(world.noisy() + wrong, listed)


def between(world: World, replicates: Replicates, one: nf.TokenLogprobs, other: nf.TokenLogprobs) -> Agreement:
    found = agreement(world.reference, replicates, one, other, k=20)
    assert found is not None
    return found


@pytest.mark.parametrize("listed", [20, 0])
def test_engines_with_the_same_fault_agree(world: World, replicates: Replicates, listed: int) -> None:
    """Four times the noise from the reference, and no further from each other than two replicates; also by targets."""
    wrong = fault(world, 7)
    one, other = (engine(world, wrong, listed) for _ in range(2))
    assert differs(world.reference, replicates, one, k=20) and differs(world.reference, replicates, other, k=20)
    found = between(world, replicates, one, other)
    assert found.times.value == pytest.approx(1.0, abs=0.1)
    assert found.within(1.25)


@pytest.mark.parametrize("listed", [20, 0])
def test_engines_with_faults_of_their_own_do_not_agree(world: World, replicates: Replicates, listed: int) -> None:
    """Each is as far from the other as both faults together; targets alone show the root of it."""
    one, other = engine(world, fault(world, 7), listed), engine(world, fault(world, 8), listed)
    found = between(world, replicates, one, other)
    assert found.times.value == pytest.approx(4.0 if listed else 2.0, rel=0.15)
    assert not found.within(1.25)


def test_the_unit_is_the_noise_of_pairs(world: World, replicates: Replicates) -> None:
    """Two healthy engines lie at 1: by the noise of one run against the exact reference they would lie at 2."""
    assert between(world, replicates, engine(world), engine(world)).times.value == pytest.approx(1.0, abs=0.1)


def test_it_does_not_matter_which_engine_is_named_first(world: World, replicates: Replicates) -> None:
    """K has a direction; agreement has none."""
    one, other = engine(world), engine(world, fault(world, 7))
    assert between(world, replicates, one, other) == between(world, replicates, other, one)


def test_healthy_engines_do_not_differ(world: World, replicates: Replicates) -> None:
    """Engines accused for something else than these tokens are not asked here."""
    assert not differs(world.reference, replicates, engine(world), k=20)


def test_single_wrong_tokens_of_each_ones_own_are_no_agreement(world: World, replicates: Replicates) -> None:
    """One token in 500, another one in each engine: the mean says 1, and the tokens say no."""
    places = np.arange(world.targets.size).reshape(world.targets.shape) % 500
    one, other = (world.run(np.where((places == at)[..., None], shifted(world), world.noisy())) for at in (100, 300))
    assert differs(world.reference, replicates, one, k=20) and differs(world.reference, replicates, other, k=20)
    found = between(world, replicates, one, other)
    assert found.times.high_pass < 1.25
    assert not found.within(1.25)


def test_the_same_wrong_tokens_are_an_agreement(world: World, replicates: Replicates) -> None:
    """One token in 500, the same one in both: a fault of the reference at that token."""
    places = np.arange(world.targets.size).reshape(world.targets.shape) % 500
    flat = np.random.default_rng(9).standard_normal(world.logits.shape)
    wrong = np.where((places == 100)[..., None], 3.0 * flat, 0.0)
    one, other = (engine(world, wrong) for _ in range(2))
    assert differs(world.reference, replicates, one, k=20) and differs(world.reference, replicates, other, k=20)
    assert between(world, replicates, one, other).within(1.25)


def test_too_little_data_is_no_agreement() -> None:
    """Agreement is claimed, not presumed: its whole interval must lie within g."""
    small = World(3, sequences=2, columns=15)
    wrong = fault(small, 7)
    assert not between(small, small.replicates(), engine(small, wrong), engine(small, wrong)).within(1.25)


def test_a_number_that_is_none_agrees_with_nothing(world: World, replicates: Replicates) -> None:
    """An engine that gives NaN is wrong whatever the reference says."""
    one = engine(world)
    targets = one.target_logprobs.copy()
    targets[2, 40] = np.nan
    broken = msgspec.structs.replace(one, target_logprobs=targets)
    assert agreement(world.reference, replicates, broken, broken, k=20) is None


def test_without_noise_there_is_no_unit(world: World) -> None:
    """Two replicates are too few to know the noise of a pair."""
    assert agreement(world.reference, world.replicates(2), engine(world), engine(world), k=20) is None


def test_padding_is_looked_at_nowhere(world: World, replicates: Replicates) -> None:
    """What the reference leaves out may hold anything."""
    keep = np.ones(world.targets.shape, bool)
    keep[:, -20:] = False
    one, other = engine(world), engine(world)
    targets = one.target_logprobs.copy()
    targets[:, -20:] = np.nan
    padded = msgspec.structs.replace(one, target_logprobs=targets)
    found = agreement(nf.restrict(world.reference, keep), replicates, padded, other, k=20)
    assert found is not None and found.times.value == pytest.approx(1.0, abs=0.1)


# --- the decision -----------------------------------------------------------------------------------------


def at(times: float, high: float | None = None, strays: float = 1.0) -> Agreement:
    high = times if high is None else high
    estimate = nf.Estimate(value=times, low_pass=times, high_pass=high, low_fail=times, high_fail=high)
    return Agreement(times=estimate, strays=strays)


def test_engines_of_different_lineage_that_agree_are_suspects() -> None:
    """Two witnesses against one."""
    found = suspects(LINEAGES, {("vllm", "llama"): at(0.9)})
    assert found == (Suspicion(engines=("llama", "vllm"), smallest=0.9, largest=0.9),)


@pytest.mark.parametrize("pair", [("vllm", "sglang"), ("vllm", "transformers"), ("transformers", "llama")])
def test_shared_code_is_no_witness(pair: tuple[str, str]) -> None:
    """Engines of one lineage may share a mistake, and the reference's own code cannot speak against it."""
    assert suspects(LINEAGES, {pair: at(0.9)}) == ()


@pytest.mark.parametrize("found", [at(1.3), at(1.2, high=1.3), at(0.9, strays=0.001)])
def test_near_is_not_enough(found: Agreement) -> None:
    """The upper bound must lie within g, and no token may stand out."""
    assert suspects(LINEAGES, {("vllm", "llama"): found}) == ()


def test_a_third_engine_joins_by_agreeing_with_another_lineage_only() -> None:
    """SGLang agrees with vLLM in any case; what counts is whether it agrees with llama.cpp."""
    pairs = {("vllm", "llama"): at(0.9), ("vllm", "sglang"): at(0.8)}
    assert suspects(LINEAGES, pairs)[0].engines == ("llama", "vllm")
    joined = suspects(LINEAGES, {**pairs, ("sglang", "llama"): at(1.1)})
    assert joined == (Suspicion(engines=("llama", "sglang", "vllm"), smallest=0.9, largest=1.1),)


def test_two_pairs_without_a_link_are_two_groups() -> None:
    """Engines that are wrong in two ways, each shared."""
    lineages = {name: name for name in "abcd"}
    found = suspects(lineages, {("a", "b"): at(1.0), ("c", "d"): at(1.1)})
    assert [one.engines for one in found] == [("a", "b"), ("c", "d")]
