"""Twelve faults of simulated engines, and what each makes an engine say from night to night."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from matrix.cells import Cell, Record
from matrix.results import Status

NIGHTS = 60

MODELS = {
    "aspen-8b": ("AspenForCausalLM", 0),
    "aspen-70b": ("AspenForCausalLM", 0),
    "birch-3b": ("BirchForCausalLM", 0),
    "cedar-30b-a3b": ("CedarMoeForCausalLM", 0),
    "dogwood-27b": ("DogwoodForConditionalGeneration", 0),
    "elm-h-9b": ("ElmHybridForCausalLM", 0),
    "fir-2b": ("FirForCausalLM", 0),
    "ginkgo-14b": ("GinkgoForCausalLM", 15),
}
"""Architecture, and the night of its release."""


class Shown(Record, frozen=True, kw_only=True):
    """What one probe said of one cell in one night."""

    status: Status
    reason: str
    numbers: dict[str, float] = {}
    curves: dict[str, tuple[float, ...]] = {}
    log_tail: str = ""


Random = np.random.Generator
Says = Callable[[Random, Cell, int], Shown]


class Cause(Record, frozen=True, kw_only=True):
    """One fault of one engine."""

    name: str
    engine: str
    probe: str
    models: dict[str, int]
    """And the night from which each shows it."""
    says: Says
    places: tuple[int, ...] = (0, 1)
    nights: tuple[tuple[int, int], ...] = ((0, NIGHTS),)
    """From and until."""
    often: float = 1.0
    """Share of the nights on which it shows; on the two newest it does."""

    def shows(self, cell: Cell, place: int, night: int, random: Random) -> bool:
        """Whether it shows in a cell on a night."""
        if cell.release.engine != self.engine or place not in self.places:
            return False
        if night < self.models.get(cell.model.id, NIGHTS):
            return False
        lasts = any(first <= night < end for first, end in self.nights)
        return lasts and (random.random() < self.often or night >= NIGHTS - 2)


# --- what causes say --------------------------------------------------------------------------------------


def _crash(words: str, random: Random, cell: Cell, night: int) -> Shown:
    said = words.format(
        line=100 * (night // 20 + 1) + int(random.integers(0, 9)),
        layer=int(random.integers(0, 48)),
        size=f"{random.integers(1, 9) * 128}, {random.integers(1, 64) * 64}",
        address=f"0x{random.integers(2**40, 2**47):012x}",
        pid=int(random.integers(300, 99_999)),
        port=int(random.integers(30_000, 60_000)),
        temporary=f"/tmp/tmp{random.integers(10**6, 10**7)}x/{cell.model.id}",
        model=cell.model.id,
        architecture=cell.model.architecture,
        time=f"2026-02-{1 + night % 28:02d} 03:{night % 60:02d}:11,123",
    )
    site = f"/opt/{cell.release.engine}-{cell.release.version}/lib/python3.{11 + night % 2}/site-packages"
    frame = f'  File "{site}/{cell.release.engine}/layers/fused.py", line {100 + night // 20}, in weight_loader'
    log = f"Traceback (most recent call last):\n{frame}\n    param.copy_(weight)\n{said}"
    return Shown(status=Status.CRASH, reason=f"exited with code 1 while loading: {said}", log_tail=log)


def _reworded(before: str, after: str, since: int, random: Random, cell: Cell, night: int) -> Shown:
    return _crash(after if night >= since else before, random, cell, night)


def _slow_start(random: Random, cell: Cell, night: int) -> Shown:
    late = 600 + int(random.integers(0, 3)) * 300
    return Shown(status=Status.TIMEOUT, reason=f"not healthy after {late} s, though its process is alive")


def _stop_word(random: Random, cell: Cell, night: int) -> Shown:
    count = int(random.integers(2, 6))
    reason = f"stop words: stop: [' and']: the answer holds it: 'twice a day, and a'; usage: counts {count} tokens"
    return Shown(status=Status.FAIL, reason=f"{reason} where {count + 1} were allowed")


def wrong(prefill: float, decode: float, random: Random, cell: Cell, night: int, *, onset: int = 0) -> Shown:
    """So many times the rounding noise; all moves by a tenth from night to night."""
    numbers: dict[str, float] = {}
    curves: dict[str, tuple[float, ...]] = {}
    told = []
    factor = float(np.exp(random.normal(0.0, 0.1)))
    for name, times in (("prefill", max(1.0, prefill * factor)), ("decode", max(1.0, decode * factor))):
        if cell.dtype == "float32":
            numbers |= {f"{name}_rms": 7e-6 * times, f"{name}_noise_rms": 7e-6}
            told.append(f"{name}: logprobs off by {7e-6 * times:.1e} nats (RMS), {times:.2g} x float32's own rounding")
        else:
            numbers |= {f"{name}_ratio": times, f"{name}_ratio_low": 0.9 * times}
            told.append(
                f"{name}: {times:.3g} x the model's own rounding noise (99.9% interval {0.9 * times:.3g} to 99)"
            )
        numbers |= {f"{name}_misses": 0.0, f"{name}_nonfinite": 0.0, f"{name}_tokens": 1272.0}
        curves |= _curves(name, times, onset if name == "prefill" else 0, random)
    status = Status.FAIL if factor * max(prefill, decode) > 2 else Status.DEGRADED
    return Shown(status=status, reason="; ".join(told), numbers=numbers, curves=curves)


def _curves(name: str, times: float, onset: int, random: Random) -> dict[str, tuple[float, ...]]:
    at = np.arange(0.0, 160.0, 5.0)
    own = np.where(at >= onset, times, 1.0) * np.exp(random.normal(0.0, 0.2, len(at)))
    return {
        f"{name}_position": tuple(at.tolist()),
        f"{name}_engine_nats": tuple((0.01 * own).tolist()),
        f"{name}_noise_low_nats": (0.008,) * len(at),
        f"{name}_noise_high_nats": (0.01,) * len(at),
    }


def _nonfinite(random: Random, cell: Cell, night: int) -> Shown:
    count = float(random.integers(10, 900))
    numbers = {"prefill_nonfinite": count, "prefill_misses": 0.0, "decode_nonfinite": count, "decode_misses": 0.0}
    said = f"{count:.0f} logprobs are not finite"
    return Shown(status=Status.FAIL, reason=f"prefill: {said}; decode: {said}", numbers=numbers)


CAUSES = (
    Cause(
        name="a fused projection of another shape", engine="alpha", probe="loading",
        models={"cedar-30b-a3b": 0, "dogwood-27b": 12, "elm-h-9b": 26}, places=(0,),
        says=partial(_crash, "RuntimeError: The size of tensor a [{size}] must match the size of tensor b [{size}] at "
                             "non-singleton dimension 1 ({temporary})"),
    ),
    Cause(
        name="an expert's weight has no name", engine="alpha", probe="loading", models={"birch-3b": 3},
        nights=((3, 20),), says=partial(_crash, "KeyError: 'model.layers.{layer}.mlp.experts.w13'"),
    ),
    Cause(
        name="RoPE of another base", engine="alpha", probe="correctness", models={"aspen-8b": 0, "aspen-70b": 10},
        nights=((0, 40),), places=(0,), says=partial(wrong, 41.0, 38.0),
    ),
    Cause(
        name="a state that decode forgets", engine="alpha", probe="correctness", models={"fir-2b": 0}, places=(0,),
        often=0.6, says=partial(wrong, 1.0, 5.0),
    ),
    Cause(
        name="a window that is ignored", engine="beta", probe="correctness", models={"dogwood-27b": 5},
        nights=((5, 30), (50, NIGHTS)), places=(1,), says=partial(wrong, 6e4, 7e4, onset=25),
    ),
    Cause(
        name="an illegal access", engine="beta", probe="loading", models={"ginkgo-14b": 15}, nights=((15, 30),),
        places=(0,),
        says=partial(_crash, "RuntimeError: [rank0]:[{time}] CUDA error: an illegal memory access was encountered at "
                             "{address} (pid {pid}, tcp://127.0.0.1:{port}, {temporary}/model-00001-of-00004.bin)"),
    ),
    Cause(
        name="stop words stay in the answer", engine="beta", probe="protocol",
        models={"aspen-8b": 0, **{name: 20 for name in MODELS if name != "aspen-8b"}}, says=_stop_word,
    ),
    Cause(
        name="numbers that are none", engine="beta", probe="correctness", models={"fir-2b": 8}, places=(0,),
        nights=((8, NIGHTS),), says=_nonfinite,
    ),
    Cause(
        name="a start without an end", engine="gamma", probe="loading", models={"cedar-30b-a3b": 2}, places=(0,),
        often=0.7, says=_slow_start,
    ),
    Cause(
        name="an activation rounded too early", engine="gamma", probe="correctness", models={"birch-3b": 0},
        nights=((0, 25),), places=(0,), says=partial(wrong, 1.9, 1.8),
    ),
    Cause(
        name="a scaling that is missing", engine="gamma", probe="loading", models={"elm-h-9b": 0, "ginkgo-14b": 33},
        places=(1,),
        says=partial(
            _reworded,
            "AssertionError: rope_scaling must be given for {architecture} ({model}) when positions exceed {line}",
            "AssertionError: rope_scaling has to be given for {architecture} ({model}) when positions exceed {line}",
            25,
        ),
    ),
    Cause(
        name="experts in another order", engine="gamma", probe="correctness", models={"birch-3b": 45},
        nights=((45, NIGHTS),), places=(0,), says=partial(wrong, 900.0, 700.0),
    ),
)  # fmt: skip
