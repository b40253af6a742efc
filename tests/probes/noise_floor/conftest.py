"""One world, its replicates, and the verdict on a candidate in it."""

from __future__ import annotations

import pytest

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import Judge, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(1)


@pytest.fixture(scope="module")
def replicates(world: World) -> dict[str, nf.TokenLogprobs]:
    return world.replicates()


@pytest.fixture(scope="module")
def judge(world: World, replicates: dict[str, nf.TokenLogprobs]) -> Judge:
    return lambda candidate: nf.judge_ratio(world.reference, replicates, candidate)
