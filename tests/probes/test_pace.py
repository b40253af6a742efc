"""Which speed is compared, by the shape of the load."""

from __future__ import annotations

from typing import Any

import pytest

from matrix.cells import Shape
from probes import pace
from probes.pace import DeviceSpeed, Needs

FOUND = {"warm_ttft_s": [0.5], "total_tokens_per_s": [900.0], "output_tokens_per_s": [80.0], "tpot_s": [0.1, 0.0]}
NEEDS = Needs(step_bytes=1e7, prefill_flops=1e11)
DEVICE = DeviceSpeed(bandwidth_bytes_per_s=1e9, flops_per_s=1e12, dtype="float32", by="torch")


@pytest.mark.parametrize(
    ("kind", "speed"),
    [
        ({"turns": 2}, 2.0),
        ({"bound": "flops"}, 900.0),
        ({"concurrency": 16}, 80.0),
        ({}, 10.0),
    ],
)
def test_each_kind_of_load_has_its_speed(kind: dict[str, Any], speed: float) -> None:
    """A cached prompt's 1/TTFT, prefill's and many users' tokens/s, one user's 1/TPOT; a time of zero is none."""
    assert pace.speed(FOUND, Shape(id="X", prompt_tokens=8, output_tokens=8, **kind)) == [speed]


def test_what_was_not_measured_has_no_speed_and_no_share() -> None:
    """Every token in one event: no TPOT, so nothing to compare and nothing to divide by."""
    shape = Shape(id="D1", prompt_tokens=8, output_tokens=8)
    assert pace.speed({}, shape) == []
    assert pace.utilisation({}, shape, NEEDS, DEVICE) == {}


def test_a_conversation_has_no_share_of_a_bound() -> None:
    """Of a cached prompt nothing need be computed."""
    assert pace.utilisation(FOUND, Shape(id="M", turns=2, prompt_tokens=8, output_tokens=8), NEEDS, DEVICE) == {}
