"""What pictures are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from matrix.cells import Shape
from probes.curves import POINTS, by_position, of_speeds
from probes.loads import COLD, Asked
from probes.noise_floor import TokenLogprobs
from probes.streamed import Streamed

S, N = 3, 100


def run(offset: float, from_position: int = 0) -> TokenLogprobs:
    """Logprobs that lie an offset off from a position on."""
    targets = np.full((S, N), -2.0)
    targets[:, from_position:] += offset
    return TokenLogprobs(
        target_logprobs=targets,
        top_ids=np.zeros((S, N, 1), dtype=np.int32),
        top_logprobs=targets[..., None],
    )


COUNTED = np.ones((S, N), dtype=bool)


def test_divergence_is_given_stretch_by_stretch_beside_that_of_the_replicates() -> None:
    """An engine that goes wrong at position 50 lies outside the band from there on."""
    found = by_position(run(0.0), {"a": run(0.01), "b": run(-0.03)}, run(0.5, from_position=50), COUNTED)
    assert len(found["position"]) == POINTS
    beyond = [place for place, own in zip(found["position"], found["engine_nats"], strict=True) if own > 0.1]
    assert beyond[0] == 49.0  # the stretch that holds position 50
    assert len(beyond) == 17
    assert found["noise_low_nats"] == pytest.approx([0.01] * POINTS)
    assert found["noise_high_nats"] == pytest.approx([0.03] * POINTS)


def test_what_does_not_count_and_numbers_that_are_none_are_left_out() -> None:
    """A stretch of padding, and one that holds an infinity."""
    counted = COUNTED.copy()
    counted[:, 20:] = False
    broken = run(0.1)
    broken.target_logprobs[0, 5] = np.nan
    found = by_position(run(0.0), {"a": run(0.01)}, broken, counted)
    assert found["position"] == tuple(float(place) for place in range(20) if place != 5)
    assert by_position(run(0.0), {"a": run(0.01)}, broken, np.zeros_like(counted)) == {}
    assert by_position(run(0.0), {}, broken, counted) == {}


def answer(ttft_s: float) -> Streamed:
    return Streamed(
        sent_s=0.0, at_s=(ttft_s, ttft_s + 1.0), tokens=(1, 10), counted=True, prompt_tokens=8, usage_tokens=11,
        id_tokens=11,
    )  # fmt: skip


def test_speeds_are_sorted_and_of_many_the_quantiles() -> None:
    """First and last are the fastest and the slowest."""
    shape = Shape(id="D1", prompt_tokens=8, output_tokens=11)
    few = [Asked(shape="D1", repeat=0, turn=0, answer=answer(value)) for value in (0.3, 0.1, 0.2)]
    assert of_speeds(few, [shape])["D1_ttft_s"] == pytest.approx((0.1, 0.2, 0.3))
    assert of_speeds(few, [shape])["D1_tpot_s"] == pytest.approx((0.1, 0.1, 0.1))
    many = [Asked(shape="D1", repeat=0, turn=0, answer=answer(0.001 * number)) for number in range(1, 1001)]
    found = of_speeds(many, [shape])["D1_ttft_s"]
    assert len(found) == POINTS
    assert (found[0], found[-1]) == pytest.approx((0.001, 1.0))


def test_of_a_conversation_the_cold_answer_counts() -> None:
    """Warm ones are another distribution."""
    shape = Shape(id="M", prompt_tokens=8, output_tokens=11, turns=2)
    asked = [Asked(shape="M", repeat=0, turn=turn, answer=answer(0.1 * (turn + 3))) for turn in (0, 1, COLD)]
    assert of_speeds(asked, [shape])["M_ttft_s"] == pytest.approx((0.1 * (COLD + 3),))
