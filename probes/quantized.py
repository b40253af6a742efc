"""Quantized: an engine with quantized weights against those very weights, dequantized; the cost of it stands apart.

The reference is made of the file that the engine loads, so what is measured is the engine's arithmetic and not the
smaller weights. Kernels for quantized weights round their inputs too, by design and coarsely, so the noise that the
engine is measured in is that of models whose inputs are rounded so (`rounded_inputs` of the reference program).
How far the dequantized model lies from the released one is the quantization's cost: shown, and never a fault.
"""

from __future__ import annotations

import msgspec
import numpy as np

from matrix.cells import Cell
from matrix.results import Measurement, Table, Verdict
from probes import correctness, noise_floor, strata
from probes.noise_floor import TokenLogprobs
from probes.probe import Bench, Probe
from runners.engine import Server

RELEASED = "released"


def not_asked(cell: Cell) -> str | None:
    """Why a cell is not asked; None where it is."""
    return None if cell.config.quantization else f"config {cell.config.id!r} quantizes nothing"


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """What correctness measures, and what the released weights say of the same corpus."""
    assert bench.released is not None
    found = correctness.measure(server, cell, bench)
    corpus = found.tables["corpus"]
    lengths = corpus["lengths"].tolist()
    sequences = [ids[:length] for ids, length in zip(corpus["token_ids"].tolist(), lengths, strict=True)]
    return Measurement(values=found.values, tables={**found.tables, RELEASED: bench.released.alone(sequences)})


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """By fidelity alone."""
    verdict = strata.judge(measurement, cell)
    cost = costs(measurement.tables["corpus"], measurement.tables[RELEASED])
    told = f"quantizing costs {cost['kl_nats']:.2g} nats a token, and another likeliest token at {cost['flips']:.1%}"
    numbers = {f"cost_{name}": value for name, value in cost.items()}
    return msgspec.structs.replace(
        verdict, reason=f"{verdict.reason}; {told}", numbers={**verdict.numbers, **numbers},
        evidence={**verdict.evidence, "perplexity, by what quantizing changes it": f"x {cost['perplexity_ratio']:.4f}"},
    )  # fmt: skip


def costs(dequantized: Table, released: Table) -> dict[str, float]:
    """How far the dequantized model lies from the released one, both in float32 on the same tokens.

    Mean divergence in nats, the share of positions with another likeliest token, and the ratio of perplexities.
    """
    one, _ = noise_floor.family(released)
    other, _ = noise_floor.family(dequantized)
    other = _narrowed(other, one)
    valid = np.isfinite(one.target_logprobs)
    divergence = noise_floor.token_kl(one, other)
    return {
        "kl_nats": float(np.mean(divergence.kl[valid])),
        "flips": float(np.mean((one.top_ids[..., 0] != other.top_ids[..., 0])[valid])),
        "perplexity_ratio": float(np.exp(np.mean((one.target_logprobs - other.target_logprobs)[valid]))),
    }


def _narrowed(wide: TokenLogprobs, like: TokenLogprobs) -> TokenLogprobs:
    """Without the padding that another table of the same sequences has no need of."""
    rows, columns = like.target_logprobs.shape
    return TokenLogprobs(
        target_logprobs=wide.target_logprobs[:rows, :columns],
        top_ids=wide.top_ids[:rows, :columns],
        top_logprobs=wide.top_logprobs[:rows, :columns],
    )


PROBE = Probe(
    name="quantized",
    version=1,
    tier="smoke",
    by_reference=True,
    order=2,
    deadline_s=1800,
    measure=measure,
    judge=judge,
    not_asked=not_asked,
    of_some_configs=True,
    sequential=correctness.SEQUENTIAL,
)
