"""What the tests answer: their records, and how a token is pointed at."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from probes.noise_floor.logprobs import Flags, Ints

Decision = Literal["PASS", "DEGRADED", "FAIL", "UNDECIDED"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio to the noise, with the bounds that a PASS rests on and the interval that an accusation rests on."""

    value: float
    low_pass: float
    high_pass: float
    low_fail: float
    high_fail: float


class SideStatistic(msgspec.Struct, frozen=True, kw_only=True):
    """What the ratio, a mean, cannot see. `worst` is what this statistic alone makes of the engine."""

    name: str
    value: float
    noise: float
    """The same quantity in the replicates (for the worst sequence: the largest that noise explains)."""
    p_value: float
    worst: Decision
    sentence: str


class RatioVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of the noise-floor ratio test on one stratum, with what it rests on."""

    decision: Decision
    sentence: str
    ratio: Estimate | None
    """T: geometric mean over sequences of the KL score over the noise's; None if it cannot be formed."""
    ratio_d: Estimate | None
    """T_d: the same for the mean |difference of the target logprobs|."""
    limit_good: float
    """g"""
    limit_fail: float
    """F"""
    sequences: int
    tokens: int
    listed: int
    """Ids compared at a position, at most; 0 where the engine lists none and only targets are compared."""
    misses: int
    nonfinite: int
    tail_fraction: float
    """f: share of tokens whose divergence exceeds the noise's 99.9% quantile."""
    hard_flips: int
    bias: float
    """Mean difference of the target logprobs from the reference's, nats."""
    worst_sequence: int | None
    worst_ratio: float
    first_bad: tuple[int, int] | None
    """Sequence and token index of the first non-finite, missed, grossly divergent or hard-flipped token."""
    sides: tuple[SideStatistic, ...]
    repeated: tuple[str, ...]
    """Replicates left out because they repeat an earlier one bit by bit."""
    dropped: tuple[str, ...]
    """Replicates left out because they disagree with the others: a fault of the reference's software."""


class MarginVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of the text-only margin test."""

    decision: Decision
    sentence: str
    tokens: int
    """Tokens counted: of each sequence, up to and with its first hard mismatch."""
    hard: int
    noise_rate: float
    """h0: upper 95% bound of the replicates' rate of hard mismatches, or the engine's own where that is higher."""
    p_value: float
    tau: float
    needed_tokens: int
    """Tokens without a hard mismatch that a PASS takes."""
    first_bad: tuple[int, int] | None


class PartingVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Decision on texts that should be the same."""

    decision: Decision
    sentence: str
    p_value: float


class Float32Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Decision of the float32 test on one stratum; sizes of target differences in nats."""

    decision: Decision
    sentence: str
    rms: float
    largest: float
    noise_rms: float
    """The largest of the replicates'."""
    noise_largest: float
    tokens: int
    misses: int
    nonfinite: int
    first_bad: tuple[int, int] | None


def first_flagged(flags: Flags, numbers: Ints | None = None) -> tuple[int, int] | None:
    """Sequence and position of the first flagged token of [S, N]; column n holds token n + 1.

    numbers: [S] of the sequences, where they are some of those that were measured.
    """
    where = np.argwhere(flags)
    if not len(where):
        return None
    row, column = map(int, where[0])
    return row if numbers is None else int(numbers[row]), column + 1


def place(where: tuple[int, int]) -> str:
    """How a sentence points at a token."""
    return f"sequence {where[0]} position {where[1]}"
