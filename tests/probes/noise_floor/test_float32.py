"""Engines that compute in float32."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import LISTED, World

ROUNDING = 1e-6


@pytest.fixture(scope="module")
def small() -> World:
    return World(5, 8, 40)


@pytest.fixture(scope="module")
def rounded(small: World) -> dict[str, nf.TokenLogprobs]:
    """Replicates that differ by float32's rounding alone."""
    return {str(place): small.run(off(small, 1.0), LISTED) for place in range(5)}


def off(world: World, times: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(world.logits + times * ROUNDING * world.random.standard_normal(world.logits.shape))


@pytest.mark.parametrize(
    ("times", "decision"), [(0.0, "PASS"), (1.0, "PASS"), (10.0, "PASS"), (60.0, "UNDECIDED"), (1000.0, "FAIL")]
)
def test_differences_are_measured_in_float32s_own_rounding(
    small: World, rounded: dict[str, nf.TokenLogprobs], times: float, decision: nf.Decision
) -> None:
    """Up to thirty times the replicates' is an engine's own kernels, beyond a hundred times it is a fault."""
    verdict = nf.judge_float32(small.reference, rounded, small.run(off(small, times)))
    assert verdict.decision == decision
    assert " x float32's own rounding (" in verdict.sentence
    assert verdict.tokens == 8 * 40 and verdict.misses == verdict.nonfinite == 0


def test_one_token_that_is_off_fails(small: World, rounded: dict[str, nf.TokenLogprobs]) -> None:
    """A thousandth of a nat at one token, which no mean would show, is found and placed."""
    run = small.run(off(small, 1.0))
    run.target_logprobs[3, 7] += 1e-3
    verdict = nf.judge_float32(small.reference, rounded, run)
    assert (verdict.decision, verdict.first_bad) == ("FAIL", (3, 8))
    assert verdict.sentence.endswith(", first at sequence 3 position 8")


def test_a_replicate_that_rounding_does_not_explain_is_no_noise(
    small: World, rounded: dict[str, nf.TokenLogprobs]
) -> None:
    """Or any engine would lie within it: what is left out is named, and the others set the floor as before."""
    broken = {"left-padded": small.run(off(small, 1e5), LISTED), "chunked": small.run(off(small, 1e6), LISTED)}
    found = nf.rounding(small.reference, {**broken, **rounded})
    assert (list(found.replicates), sorted(found.dropped)) == (list(rounded), ["chunked", "left-padded"])
    assert not found.undecided.any()
    assert nf.judge_float32(small.reference, found.replicates, small.run(off(small, 1000.0))).decision == "FAIL"


def test_where_hardly_any_replicate_is_rounding_nothing_is_decided(
    small: World, rounded: dict[str, nf.TokenLogprobs]
) -> None:
    """Two are no family."""
    broken = {name: small.run(off(small, 1e5), LISTED) for name in ("a", "b", "c")}
    found = nf.rounding(small.reference, {**broken, "d": rounded["0"], "e": rounded["1"]})
    assert (sorted(found.replicates), sorted(found.dropped)) == (["d", "e"], ["a", "b", "c"])
    assert nf.judge_float32(small.reference, found.replicates, small.run(off(small, 1.0))).decision == "UNDECIDED"


def flipped(world: World, where: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> nf.TokenLogprobs:
    """A run that says something else where a choice turned out otherwise."""
    return world.run(np.where(where[..., None], off(world, 1e6), off(world, 10.0)), LISTED)


def test_where_a_choice_is_nearly_a_tie_nobody_is_judged(small: World, rounded: dict[str, nf.TokenLogprobs]) -> None:
    """A shaken input shows the place, or another order of sums; an engine that chose otherwise has the rest."""
    tie = np.zeros((8, 40), dtype=bool)
    tie[5, 30:] = True
    shaken = {"f32-shaken-1": flipped(small, tie), "f32-shaken-2": small.run(off(small, 10.0), LISTED)}
    for one in ({**rounded, **shaken}, {**rounded, "1": flipped(small, tie), "2": flipped(small, tie)}):
        found = nf.rounding(small.reference, one)
        assert (list(found.replicates), found.dropped) == (list(rounded), ())
        assert np.array_equal(found.undecided, tie)
        part = nf.restrict(small.reference, ~found.undecided)
        assert nf.judge_float32(part, found.replicates, flipped(small, tie)).decision == "PASS"
        more = tie | (np.arange(40) == 7)
        assert nf.judge_float32(part, found.replicates, flipped(small, more)).decision == "FAIL"


def test_what_is_no_number_or_another_distribution_fails(small: World, rounded: dict[str, nf.TokenLogprobs]) -> None:
    """NaN and a list about something else need no threshold."""
    run = small.run(off(small, 1.0))
    lost = msgspec.structs.replace(run, target_logprobs=np.where(np.arange(40) == 4, np.nan, run.target_logprobs))
    verdict = nf.judge_float32(small.reference, rounded, lost)
    assert verdict.decision == "FAIL" and verdict.sentence.startswith("8 logprobs are not finite")
    strange = msgspec.structs.replace(run, top_ids=(run.top_ids + 1) % 500)
    verdict = nf.judge_float32(small.reference, rounded, strange)
    assert verdict.decision == "FAIL" and verdict.misses > 0


def test_too_few_replicates_decide_nothing(small: World, rounded: dict[str, nf.TokenLogprobs]) -> None:
    """Two of them are no spread; and one that is not finite is our error."""
    two = {name: rounded[name] for name in ("0", "1")}
    verdict = nf.judge_float32(small.reference, two, small.run(small.logits))
    assert (verdict.decision, verdict.sentence) == ("UNDECIDED", "2 float32 replicates and 3 are needed")
    bad = msgspec.structs.replace(rounded["0"], target_logprobs=rounded["0"].target_logprobs * np.nan)
    with pytest.raises(ValueError, match="replicate bad is not finite"):
        nf.judge_float32(small.reference, {**rounded, "bad": bad}, small.run(small.logits))


def test_padding_is_looked_at_nowhere(small: World, rounded: dict[str, nf.TokenLogprobs]) -> None:
    """What the reference leaves out may be anything in the engine's answer."""
    keep = np.broadcast_to(np.arange(40) < 20, (8, 40))
    run = small.run(off(small, 1.0))
    garbage = msgspec.structs.replace(run, target_logprobs=np.where(keep, run.target_logprobs, np.inf))
    verdict = nf.judge_float32(nf.restrict(small.reference, keep), rounded, garbage)
    assert (verdict.decision, verdict.tokens) == ("PASS", 8 * 20)
