"""The float32 verdict: an engine that computes in float32 is judged by its largest and its RMS difference.

The ratio test does not apply there. In float32 a divergence K is itself rounding error, negative at half of all
positions, and the noise of bfloat16 says nothing about an engine that has none of it. What is left is the difference
d = ln q - ln p of the target logprobs, whose size grows with a model's depth (1e-6 at two layers, 1e-4 at thirty): the
tolerance is taken from float32 replicates of the very checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from probes.noise_floor.divergence import token_difference, token_kl
from probes.noise_floor.limits import FLOAT32_FAIL, FLOAT32_GOOD, FLOAT32_RESOLUTION, FLOAT32_TIES, MIN_REPLICATES
from probes.noise_floor.logprobs import Flags, Floats, TokenLogprobs, nonfinite, restrict, valid_positions
from probes.noise_floor.verdicts import Decision, Float32Verdict, first_flagged, place

SHAKEN = "f32-shaken"
"""How the names of replicates begin that are no rounding: the reference program's ways.py."""


class Size(NamedTuple):
    """How large a run's differences are, nats."""

    rms: float
    largest: float


def judge_float32(
    reference: TokenLogprobs,
    replicates: Mapping[str, TokenLogprobs],
    candidate: TokenLogprobs,
    k: int | None = None,
    *,
    baseline: TokenLogprobs | None = None,
) -> Float32Verdict:
    """Judge one stratum of a float32 engine by |d| against the largest RMS and the largest |d| of float32 replicates.

    PASS       both within FLOAT32_GOOD times the replicates', and no miss.
    FAIL       a non-finite logprob, a miss, or either beyond FLOAT32_FAIL times the replicates'.
    UNDECIDED  between, or fewer than three replicates: more than rounding explains, less than a fault must show.

    baseline: what the same engine answered to the same tokens asked in another way; the candidate is then compared with
       that. Two runs of the same rounding lie apart by at most twice it, which the limits have room for.
    Raises ValueError if shapes differ or a replicate is not finite.
    """
    for name, replicate in replicates.items():
        if nonfinite(reference, replicate).any():
            raise ValueError(f"replicate {name} is not finite: no verdict can rest on it")
    against = reference if baseline is None else restrict(baseline, valid_positions(reference))
    bad, miss = nonfinite(reference, candidate), token_kl(against, candidate, k).miss
    noise = [_size(token_difference(reference, run)) for run in replicates.values()]
    floor = Size(*(max([FLOAT32_RESOLUTION, *values]) for values in zip(*noise, strict=True))) if noise else Size(0, 0)
    difference = np.where(bad, np.nan, token_difference(against, candidate))
    own = _size(difference)
    times = max(own.rms / floor.rms, own.largest / floor.largest) if noise else math.inf
    decision = _decision(bad, miss, times, len(noise))
    beyond = abs(np.nan_to_num(difference)) > FLOAT32_FAIL * floor.largest
    first = first_flagged(bad | miss | (beyond if noise else np.zeros_like(bad)))
    return Float32Verdict(
        decision=decision,
        sentence=_sentence(own, floor, times, bad, miss, len(noise)) + (f", first at {place(first)}" if first else ""),
        rms=own.rms,
        largest=own.largest,
        noise_rms=floor.rms,
        noise_largest=floor.largest,
        tokens=int(valid_positions(reference).sum()),
        misses=int(miss.sum()),
        nonfinite=int(bad.sum()),
        first_bad=first,
    )


class Rounding(NamedTuple):
    """What a float32 family says of rounding."""

    replicates: dict[str, TokenLogprobs]
    """Those that differ from the reference by rounding."""
    undecided: Flags
    """[S, N]: where rounding may decide what the model says."""
    dropped: tuple[str, ...]
    """Names of those that rounding does not explain."""


def rounding(reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs]) -> Rounding:
    """Tell rounding from what it is not, by differences beyond FLOAT32_FAIL times those of 99% of the tokens.

    At some tokens: a choice, of experts or of keys, is nearly a tie. It turns out one way here and the other there, two
    right engines may differ by any amount from there on, and nobody is judged. Two shaken replicates, which are no
    rounding but an input off by a few millionths, look for such places. At more than FLOAT32_TIES of the tokens: a way
    of feeding that the reference's own code gets wrong (transformers 5.23.0: padded batches through Mamba layers).
    Taken for noise, either would pass any engine.
    """
    distances = {name: np.abs(token_difference(reference, run)) for name, run in replicates.items()}
    own = [name for name in replicates if not name.startswith(SHAKEN)]
    scales = sorted(float(np.nanquantile(distances[name], 0.99)) for name in own)
    limit = FLOAT32_FAIL * max(scales[1], FLOAT32_RESOLUTION) if len(scales) > 1 else math.inf
    # A number that is none is no tie: the judge refuses a replicate that has one.
    beyond = {name: np.nan_to_num(values, nan=0.0, posinf=0.0) > limit for name, values in distances.items()}
    most = FLOAT32_TIES * valid_positions(reference).sum()
    dropped = tuple(name for name in own if beyond[name].sum() > most)
    undecided = np.zeros_like(valid_positions(reference))
    for name, flags in beyond.items():
        if name not in dropped:
            undecided |= flags
    kept = {name: replicates[name] for name in own if name not in dropped}
    return Rounding(replicates=kept, undecided=undecided, dropped=dropped)


def _size(difference: Floats) -> Size:
    values = difference[~np.isnan(difference)]
    if not values.size:
        return Size(0.0, 0.0)
    return Size(float(np.sqrt(np.mean(np.square(values)))), float(np.abs(values).max()))


def _decision(bad: Flags, miss: Flags, times: float, replicates: int) -> Decision:
    if bad.any() or miss.any():
        return "FAIL"
    if replicates < MIN_REPLICATES:
        return "UNDECIDED"
    return "PASS" if times <= FLOAT32_GOOD else "FAIL" if times > FLOAT32_FAIL else "UNDECIDED"


def _sentence(own: Size, floor: Size, times: float, bad: Flags, miss: Flags, replicates: int) -> str:
    if bad.any():
        return f"{int(bad.sum())} logprobs are not finite"
    if miss.any():
        return f"{int(miss.sum())} tokens share less than half of the reference's probable tokens"
    if replicates < MIN_REPLICATES:
        return f"{replicates} float32 replicates and {MIN_REPLICATES} are needed"
    return (
        f"logprobs off by {own.rms:.1e} nats (RMS) and {own.largest:.1e} at most, {times:.2g} x float32's own "
        f"rounding ({floor.rms:.1e} and {floor.largest:.1e})"
    )
