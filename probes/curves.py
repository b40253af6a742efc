"""What a verdict's pictures are drawn from: a few dozen points a curve, since measurements are not published. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from matrix.cells import Shape
from probes import noise_floor
from probes.loads import COLD, Asked
from probes.noise_floor import Flags, Floats, TokenLogprobs

POINTS = 32
"""At most so many a curve, of three digits each: every night keeps them."""

Curves = dict[str, tuple[float, ...]]


def by_position(
    reference: TokenLogprobs, replicates: Mapping[str, TokenLogprobs], candidate: TokenLogprobs, counted: Flags
) -> Curves:
    """How far from the reference, position by position, in nats of the given token (RMS over sequences).

    `position` is the first of each stretch of positions, `engine_nats` the engine's, and between `noise_low_nats` and
    `noise_high_nats` lie the reference's own replicates. `counted` [S, N]: positions that count. Stretches in which
    nothing counts, or the engine gave a number that is none, are left out.
    """
    places = np.flatnonzero(counted.any(axis=0))
    if not len(places) or not replicates:
        return {}
    stretches = [part for part in np.array_split(places, min(POINTS, len(places))) if len(part)]
    difference, *of_noise = (noise_floor.token_difference(reference, run) for run in (candidate, *replicates.values()))
    own = [_rms(difference, counted, part) for part in stretches]
    noise = np.array([[_rms(one, counted, part) for part in stretches] for one in of_noise])
    kept = np.isfinite(own) & np.isfinite(noise).all(axis=0)
    curves = {
        "position": [float(part[0]) for part in stretches],
        "engine_nats": own,
        "noise_low_nats": noise.min(axis=0),
        "noise_high_nats": noise.max(axis=0),
    }
    return {name: _short(np.asarray(curve)[kept]) for name, curve in curves.items()}


def _rms(difference: Floats, counted: Flags, columns: np.ndarray) -> float:
    values = difference[:, columns][counted[:, columns]]
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def of_speeds(asked: Sequence[Asked], shapes: Iterable[Shape]) -> Curves:
    """Every TTFT and TPOT of a shape in seconds, sorted; of many their quantiles. Of a conversation the cold TTFT."""
    return {f"{shape.id}_{name}": _quantiles(values) for shape in shapes for name, values in _times(asked, shape)}


def _times(asked: Sequence[Asked], shape: Shape) -> Iterator[tuple[str, list[float]]]:
    turn = COLD if shape.turns > 1 else 0
    answers = [one.answer for one in asked if one.shape == shape.id and one.turn == turn]
    for name in ("ttft_s", "tpot_s"):
        known = [value for answer in answers if (value := getattr(answer, name)) is not None]
        if known:
            yield name, known


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    ordered = np.sort(np.asarray(values, dtype=float))
    if len(ordered) > POINTS:
        ordered = np.quantile(ordered, np.linspace(0.0, 1.0, POINTS))
    return _short(ordered)


def _short(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.3g}") for value in values)
