"""What goes into the test and what comes out of it: arrays, shapes, verdicts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from probes import noise_floor as nf
from tests.probes.noise_floor.synthetic import Judge, World


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
