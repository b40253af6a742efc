"""The noise-floor ratio test, on synthetic logits: peaked distributions over 500 ids, with noise added."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from probes import noise_floor as nf

Array = NDArray[np.float64]
VOCABULARY = 500
LISTED = 32
NOISE = 0.04


class World:
    """A reference's logits [S, N, V], their target ids, and noise with its own size at each position."""

    def __init__(self, seed: int, sequences: int = 32, columns: int = 127) -> None:
        self.random = np.random.default_rng(seed)
        shape = (sequences, columns)
        # Real positions range from certain to undecided, and rounding hits some sequences harder than others.
        peak = self.random.uniform(1.0, 5.0, (*shape, 1))
        self.logits: Array = self.random.standard_normal((*shape, VOCABULARY)) * peak
        size = NOISE * np.exp(0.4 * self.random.standard_normal((*shape, 1)))
        self.size: Array = size * np.exp(0.2 * self.random.standard_normal((sequences, 1, 1)))
        gumbel = self.random.gumbel(size=self.logits.shape)
        self.targets = np.asarray((self.logits + gumbel).argmax(axis=-1))
        self.reference = self.run(self.logits, LISTED)

    def noisy(self, times: float = 1.0) -> Array:
        """Logits with fresh noise, `times` as large in divergence."""
        return np.asarray(self.logits + np.sqrt(times) * self.size * self.random.standard_normal(self.logits.shape))

    def run(self, logits: Array, listed: int = 20) -> nf.TokenLogprobs:
        logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        top = np.argsort(-logs, axis=-1)[..., :listed] if listed else np.zeros((*logs.shape[:2], 0), int)
        targets = np.take_along_axis(logs, self.targets[..., None], axis=-1)[..., 0]
        return nf.TokenLogprobs(
            target_logprobs=targets.astype(np.float32),
            top_ids=top.astype(np.int32),
            top_logprobs=np.take_along_axis(logs, top, axis=-1).astype(np.float32),
        )

    def replicates(self, count: int = 5) -> dict[str, nf.TokenLogprobs]:
        return {f"noise-{place}": self.run(self.noisy(), LISTED) for place in range(count)}


@pytest.fixture(scope="module")
def world() -> World:
    return World(1)


@pytest.fixture(scope="module")
def replicates(world: World) -> dict[str, nf.TokenLogprobs]:
    return world.replicates()


Judge = Callable[[nf.TokenLogprobs], nf.RatioVerdict]


@pytest.fixture(scope="module")
def judge(world: World, replicates: dict[str, nf.TokenLogprobs]) -> Judge:
    return lambda candidate: nf.judge_ratio(world.reference, replicates, candidate)


def full_kl(p: Array, q: Array) -> Array:
    p, q = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (p, q))
    return np.asarray((np.exp(p) * (p - q)).sum(axis=-1))


# --- the divergence ---------------------------------------------------------------------------------------


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


# --- healthy engines --------------------------------------------------------------------------------------


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


def test_the_same_noise_passes_and_says_so(world: World, judge: Judge) -> None:
    """A candidate with the replicates' own noise: PASS, in a sentence that a reader understands."""
    verdict = judge(world.run(world.noisy()))
    assert verdict.decision == "PASS"
    assert "x the model's own rounding noise (99% interval" in verdict.sentence
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
    verdicts = nf.leave_one_out(world.reference, replicates, 20)
    assert {verdict.decision for verdict in verdicts.values()} == {"PASS"}


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


# --- faulty engines ---------------------------------------------------------------------------------------


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
    """g follows the controls up to 1.5, F follows 3 g and the int8 ratio."""
    candidate = world.run(world.noisy())
    for controls, int8, wanted in (
        ((), None, (1.25, 3.75)),
        ((1.1, 1.4), None, (1.4, 4.2)),
        ((9.0,), 6.0, (1.5, 6.0)),
    ):
        verdict = nf.judge_ratio(world.reference, replicates, candidate, controls=controls, int8_ratio=int8)
        assert (verdict.limit_good, verdict.limit_fail) == pytest.approx(wanted)


def shifted(world: World) -> Array:
    return np.roll(world.noisy(), 1, axis=1)


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


# --- when there is nothing to judge by --------------------------------------------------------------------


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


def test_wrong_shapes_and_unfinite_replicates_are_our_error(
    world: World, replicates: dict[str, nf.TokenLogprobs]
) -> None:
    """What the harness got wrong is a ValueError, never a verdict on an engine."""
    short = World(1, 4, 5)
    with pytest.raises(ValueError, match="positions against"):
        nf.judge_ratio(world.reference, replicates, short.reference)
    lost = msgspec.structs.replace(world.reference, target_logprobs=world.reference.target_logprobs.copy())
    lost.target_logprobs[0, 0] = np.inf
    with pytest.raises(ValueError, match="replicate lost is not finite"):
        nf.judge_ratio(world.reference, {**replicates, "lost": lost}, world.reference)
    with pytest.raises(ValueError, match="no valid position"):
        nf.judge_ratio(nf.restrict(world.reference, np.zeros((32, 127), bool)), replicates, world.reference)


def test_a_verdict_is_json(judge: Judge, world: World) -> None:
    """Records survive the way to disk and back."""
    verdict = judge(world.run(world.noisy()))
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=nf.RatioVerdict) == verdict


def test_family_reads_the_arrays_of_the_reference_program(world: World) -> None:
    """`reference` and every other name become runs; without a reference it is a ValueError."""
    run = world.reference
    arrays = {
        f"{name}/{field}": getattr(run, field)
        for name in ("reference", "bf16-a", "bf16-b")
        for field in ("target_logprobs", "top_ids", "top_logprobs")
    }
    reference, replicates = nf.family(arrays)
    assert reference.top_ids is run.top_ids and list(replicates) == ["bf16-a", "bf16-b"]
    with pytest.raises(ValueError, match="no array reference/target_logprobs"):
        nf.family({})


# --- counting ---------------------------------------------------------------------------------------------


def test_four_flagged_tokens_are_the_least_proof() -> None:
    """Against five silent replicates p = (1/6)^m, when the tokens lie in different sequences."""
    valid = np.ones((32, 127), bool)
    silent = [np.zeros((32, 127), bool)] * 5
    for count in (1, 3, 4):
        flags = np.zeros((32, 127), bool)
        flags[np.arange(count), 5] = True
        assert nf.rate_excess(flags, silent, valid) == pytest.approx(6.0**-count)
    clustered = np.zeros((32, 127), bool)
    clustered[3, :40] = True
    assert nf.rate_excess(clustered, silent, valid) > 0.1  # one event in one sequence, left to the worst sequence


def test_rates_that_agree_are_no_excess() -> None:
    """The p-value of equal rates is roughly uniform: under 1% in at most 4% of 300 draws."""
    random = np.random.default_rng(0)
    valid = np.ones((32, 127), bool)
    draws = [
        nf.rate_excess(random.random((32, 127)) < 0.003, list(random.random((5, 32, 127)) < 0.003), valid)
        for _ in range(300)
    ]
    assert np.mean(np.array(draws) < 0.01) <= 0.04


# --- text only --------------------------------------------------------------------------------------------


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
