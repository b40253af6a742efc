"""The divergence on a coarsened vocabulary, and which positions it is taken at."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import VOCABULARY, Array, Judge, World


def full_kl(p: Array, q: Array) -> Array:
    p, q = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (p, q))
    return np.asarray((np.exp(p) * (p - q)).sum(axis=-1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**20), size=st.floats(0.01, 3.0), small=st.integers(1, 20), more=st.integers(0, 12))
def test_a_coarser_list_never_raises_the_divergence(seed: int, size: float, small: int, more: int) -> None:
    """Where q is known on all of R, 0 <= K at k <= K at k' > k <= the full divergence, for k >= 1.

    It does not hold where ids of R are unlisted and q is only bounded, so the candidate lists just those of
    R.
    """
    world = World(seed, 2, 5)
    other = world.logits + size * world.random.standard_normal(world.logits.shape)
    logs = other - np.logaddexp.reduce(other, axis=-1, keepdims=True)
    reference = world.run(world.logits, VOCABULARY)

    def at(k: int) -> nf.Floats:
        ids = reference.top_ids[..., :k]
        candidate = msgspec.structs.replace(
            world.run(other), top_ids=ids, top_logprobs=np.take_along_axis(logs, ids, axis=-1)
        )
        return nf.token_kl(reference, candidate).kl

    fine, coarse = at(small + more), at(small)
    assert (coarse >= -1e-5).all()
    assert (coarse <= fine + 1e-5).all()
    assert (fine <= full_kl(world.logits, other) + 1e-5).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), size=st.floats(0.01, 3.0))
def test_without_lists_the_target_alone_bounds_the_divergence_from_below(seed: int, size: float) -> None:
    """k = 0 compares the target with all else: also a coarsening, so 0 <= K <= the full divergence."""
    world = World(seed, 2, 5)
    other = world.logits + size * world.random.standard_normal(world.logits.shape)
    kl = nf.token_kl(world.reference, world.run(other, 0)).kl
    assert (kl >= -1e-5).all()
    assert (kl <= full_kl(world.logits, other) + 1e-5).all()


def test_the_divergence_is_the_formula(world: World) -> None:
    """Two ids and a tail, by hand; the unlisted id is given the least listed probability."""

    def one(target: float, ids: list[int], p: list[float]) -> nf.TokenLogprobs:
        return nf.TokenLogprobs(
            target_logprobs=np.log([[target]]), top_ids=np.array([[ids]]), top_logprobs=np.log([[p]])
        )

    reference = one(0.6, [4, 9], [0.6, 0.3])
    found = nf.token_kl(reference, one(0.5, [4, 7], [0.5, 0.25])).kl[0, 0]
    wanted = 0.6 * np.log(0.6 / 0.5) + 0.3 * np.log(0.3 / 0.25) + 0.1 * np.log(0.1 / 0.25)
    assert found == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_names_of_ids_do_not_matter(seed: int) -> None:
    """Permuting the vocabulary of both sides, and the order of the lists, changes nothing."""
    world = World(seed, 3, 7)
    candidate = world.run(world.noisy())
    names = world.random.permutation(VOCABULARY)
    order = world.random.permutation(20)

    def renamed(run: nf.TokenLogprobs) -> nf.TokenLogprobs:
        return msgspec.structs.replace(run, top_ids=names[run.top_ids])

    shuffled = msgspec.structs.replace(
        candidate, top_ids=candidate.top_ids[..., order], top_logprobs=candidate.top_logprobs[..., order]
    )
    plain = nf.token_kl(world.reference, candidate)
    other = nf.token_kl(renamed(world.reference), renamed(shuffled))
    np.testing.assert_allclose(plain.kl, other.kl, atol=1e-12)
    assert (plain.miss == other.miss).all()


def test_padding_is_looked_at_nowhere(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """What stands beyond a sequence's end, NaN or garbage, does not reach the verdict."""
    candidate = world.run(world.noisy())
    keep = np.arange(127) < np.linspace(60, 127, 32).astype(int)[:, None]
    reference = nf.restrict(world.reference, keep)
    padded = nf.TokenLogprobs(
        target_logprobs=np.where(keep, candidate.target_logprobs, np.nan),
        top_ids=np.where(keep[..., None], candidate.top_ids, -1),
        top_logprobs=np.where(keep[..., None], candidate.top_logprobs, np.inf),
    )
    one, other = (
        nf.judge_ratio(reference, replicates, candidate),
        nf.judge_ratio(reference, replicates, padded),
    )
    assert one == other
    assert one.tokens == keep.sum()


def test_a_list_with_fewer_ids_at_some_positions_is_compared_on_those(world: World, judge: Judge) -> None:
    """An engine that lists 20 ids here and none there is judged as coarsely there, and passes."""
    candidate = world.run(world.noisy())
    gone = np.arange(20) >= world.random.integers(0, 21, (32, 127, 1))
    verdict = judge(msgspec.structs.replace(candidate, top_ids=np.where(gone, -1, candidate.top_ids)))
    assert verdict.decision == "PASS"
    assert verdict.misses < 20  # where one id is listed, any flip of the top token is a miss, in the noise as well
