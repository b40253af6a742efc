"""Quantized: judged by the engine's own weights, with the cost of quantizing beside the verdict."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from matrix.results import Status, Table
from probes import correctness, quantized
from probes.session import Options, Session
from tests.fake_engine import adapter, bench

CELL = msgspec.structs.replace(
    bench.CELL, config=msgspec.structs.replace(bench.CELL.config, id="q8-0", quantization="q8-0")
)


def table(shift: float = 0.0) -> Table:
    """Two sequences, their logprobs moved; the likeliest id is another where they are moved much."""
    found = bench.arrays([[5, 6, 7, 8], [9, 10, 11]], [1, 1])
    for name in ("target_logprobs", "top_logprobs"):
        found[f"reference/{name}"] = found[f"reference/{name}"] + np.float32(shift)
    if shift <= -1:
        found["reference/top_ids"] = found["reference/top_ids"][..., ::-1]
    return found


def test_what_quantizing_does_not_change_costs_nothing() -> None:
    """No divergence, no other likeliest token, the same perplexity."""
    assert quantized.costs(table(), table()) == {"kl_nats": 0.0, "flips": 0.0, "perplexity_ratio": 1.0}


def test_a_model_that_is_less_sure_after_quantizing_has_a_higher_perplexity() -> None:
    """By the mean of what its targets lose."""
    cost = quantized.costs(table(-0.5), table())
    assert cost["perplexity_ratio"] == pytest.approx(np.exp(0.5), rel=1e-6)
    assert cost["flips"] == 0.0
    assert cost["kl_nats"] > 0.0
    assert quantized.costs(table(-1.0), table())["flips"] == 1.0


@pytest.mark.parametrize(("behaviour", "status"), [("healthy", Status.PASS), ("other-model", Status.FAIL)])
def test_fidelity_alone_decides(behaviour: str, status: Status, tmp_path: Path) -> None:
    """The cost is told whatever the verdict is."""
    on = bench.bench()
    on = msgspec.structs.replace(on, released=on.reference)
    verdict = bench.verdict_of(quantized.PROBE, adapter.fake_engine(behaviour), tmp_path, cell=CELL, on=on)
    assert verdict.status is status
    assert verdict.reason.endswith("; quantizing costs 0 nats a token, and another likeliest token at 0.0%")
    assert verdict.evidence["perplexity, by what quantizing changes it"] == "x 1.0000"
    assert verdict.numbers["cost_kl_nats"] == 0.0


def test_one_of_two_probes_asks_about_numbers() -> None:
    """By the config; a run without quantized weights does not speak of them."""
    assert quantized.PROBE.not_asked(CELL) is None
    assert quantized.PROBE.not_asked(bench.CELL) == "config 'default' quantizes nothing"
    assert correctness.PROBE.not_asked(CELL) == "judged by the probe for quantized weights"
    assert correctness.PROBE.not_asked(bench.CELL) is None
    assert set(Session(Options(profile="quick")).probes) == {"loading", "correctness", "throughput"}
    assert set(Session(Options(profile="quantized")).probes) == {"loading", "quantized"}
    assert set(Session(Options(profile="protocol")).probes) == {"loading", "protocol"}
