"""The ladder of visible roundings."""

from __future__ import annotations

import numpy as np
import pytest

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import LISTED, World

RUNGS = {"an fp8 KV cache": 1.9, nf.INT8: 3.4, "int4 weights": 28.0}


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.1, "below an fp8 KV cache (1.9 x)"),
        (2.4, "above an fp8 KV cache (1.9 x), below int8 weights (3.4 x)"),
        (99.0, "above int4 weights (28 x)"),
    ],
)
def test_a_ratio_is_placed_between_its_neighbours(ratio: float, words: str) -> None:
    """The rung below, the rung above, each with its own ratio."""
    assert nf.placed(ratio, RUNGS) == words


def test_without_rungs_there_is_nothing_to_say() -> None:
    """A model too large for the ladder."""
    assert nf.placed(2.0, {}) == ""


def test_rungs_are_measured_like_engines(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """Roundings of two and four times the noise get those ratios, under their names in a sentence."""
    rungs = {"ladder-int8": world.run(world.noisy(2), LISTED), "ladder-int4": world.run(world.noisy(4), LISTED)}
    found = nf.ladder(world.reference, replicates, rungs, 20)
    assert found == {"int8 weights": pytest.approx(2, rel=0.15), "int4 weights": pytest.approx(4, rel=0.15)}
    still = dict.fromkeys("abc", world.reference)
    assert nf.ladder(world.reference, still, rungs, 20) == {}


def test_the_sentence_of_a_bad_engine_is_on_that_scale(world: World, replicates: dict[str, nf.TokenLogprobs]) -> None:
    """DEGRADED says between which roundings the engine lies; PASS needs no such comfort."""
    said = nf.judge_ratio(world.reference, replicates, world.run(world.noisy(2.5)), rungs=RUNGS)
    assert said.decision == "DEGRADED"
    assert said.sentence.endswith(
        "on the scale of this model: above an fp8 KV cache (1.9 x), below int8 weights (3.4 x)"
    )
    assert "scale" not in nf.judge_ratio(world.reference, replicates, world.run(world.noisy()), rungs=RUNGS).sentence


def test_runs_are_read_by_their_names(world: World) -> None:
    """Whatever has target_logprobs in the arrays of the reference program is a run; rows are some of its sequences."""
    arrays = {f"ladder-int8/{field}": getattr(world.reference, field) for field in nf.TokenLogprobs.__struct_fields__}
    found = nf.runs({**arrays, "token_ids": np.zeros((32, 128))})
    assert list(found) == ["ladder-int8"]
    assert nf.rows(found["ladder-int8"], slice(3)).top_ids.shape == (3, 127, LISTED)
