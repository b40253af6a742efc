"""The ladder: what visible roundings of the reference itself measure on the same scale, so that a ratio can be read.

"2.4 x the noise" says little; "above fp8 keys and values, below int8 weights" says how bad that is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from probes.noise_floor.logprobs import TokenLogprobs, listed_count, valid_positions
from probes.noise_floor.noise import measure_noise, run_statistics, weighted_log_ratio

NAMES = {
    "ladder-fp8-kv": "an fp8 KV cache",
    "ladder-int8": "int8 weights",
    "ladder-fp8": "fp8 weights",
    "ladder-int4": "int4 weights",
}
"""What the rungs of probes/reference/program are in a sentence."""

INT8 = NAMES["ladder-int8"]


def ladder(
    reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], rungs: Mapping[str, TokenLogprobs], k: int
) -> dict[str, float]:
    """T of each rung, by its name in a sentence, at `k` listed ids; empty where there is no noise to measure it in."""
    depth = np.where(valid_positions(reference), np.minimum(listed_count(reference), k), 0)
    noise = measure_noise(reference, replicates, depth)
    if len(noise.runs) < 2 or noise.c == 0:
        return {}
    found = {}
    for name, rung in rungs.items():
        own = run_statistics(reference, rung, depth).kl
        logs = weighted_log_ratio(own, [run.kl for run in noise.runs], noise.c)
        found[NAMES.get(name, name)] = float(np.exp(logs.mean()))
    return found


def placed(ratio: float, rungs: Mapping[str, float]) -> str:
    """Between which rungs a ratio lies, in words; empty without any."""
    below = [(times, name) for name, times in rungs.items() if times <= ratio]
    above = [(times, name) for name, times in rungs.items() if times > ratio]
    words = [f"above {name} ({times:.2g} x)" for times, name in [max(below)] if below] if below else []
    words += [f"below {name} ({times:.2g} x)" for times, name in [min(above)]] if above else []
    return ", ".join(words)
