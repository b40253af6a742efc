"""The pattern of a divergence: where an engine is off and where it is right, and by how much. Pure.

Its numbers move from night to night, so patterns are compared with room between *off* and *right*, and between
sizes, and no border cuts one fault in two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from matrix.cells import Record

OFF, RIGHT = 0.5, 0.25
"""Shares of the worst stratum's logarithm, from which one is off and up to which it is right; between, it is neither.

So no threshold of a probe is needed: 40 x the noise in decode and 1.1 x in prefill is a fault of decode alone.
"""
VISIBLE = math.log10(1.25)
"""Below that, sizes do not say where it is off: the probe had other reasons, such as one sequence of many."""
DECADES = 1.0
"""Sizes that lie further apart, as powers of ten, are not those of one fault; real ones move by a third."""

BEGINNING = "from the first position on"
"""The pseudo-stratum that tells a fault of every position from one of length, a window or a scaling."""

NAMED = {
    "shifted by one position": "each token has its neighbour's logprobs",
    "not finite": "logprobs are not finite",
    "foreign": "answers to other questions",
}
"""Faults that have a name, by what tells them: of the sentence, or the ending of a number above nought."""

PER_TOKEN = 1000.0
"""Of texts it is counted which tokens no rounding explains: one in a thousand is noise."""
NO_STRATUM = "cost_"
"""Begins the numbers that say what quantizing costs, whatever the engine."""
LENGTH = re.compile(r"\d+")


class Pattern(Record, frozen=True, kw_only=True):
    """What a divergence looks like."""

    names: tuple[str, ...]
    """Of the fault, where it has some."""
    shares: dict[str, float]
    """By stratum: the logarithm of how far it is off, as a share of the worst one's; empty where none is visible."""
    size: float | None
    """Power of ten of the worst stratum, in units of `measure`; None where there is no number."""
    measure: str

    @property
    def words(self) -> str:
        """In words, with no number that moves by less than a power of ten."""
        off = [name for name in self.shares if name != BEGINNING and self.shares[name] >= OFF]
        parts = [*(NAMED[name] for name in self.names), f"off in {' and '.join(off)}" if off else "off"]
        if BEGINNING in self.shares and self.shares[BEGINNING] >= OFF:
            parts.append(BEGINNING)
        elif BEGINNING in self.shares and self.shares[BEGINNING] <= RIGHT:
            parts.append("right at first, and off further on")
        if self.size is not None:
            some = f"some {10 ** round(self.size):,} x" if round(self.size) else "little more than"
            parts.append(f"by {some} the noise ({self.measure})")
        return ", ".join(parts)


def pattern(reason: str, numbers: Mapping[str, float], curves: Mapping[str, Sequence[float]]) -> Pattern | None:
    """What a verdict shows of a divergence; None where it compares nothing with a reference."""
    sizes = dict(_sizes(numbers))
    names = tuple(sorted(_names(reason, numbers)))
    if not sizes and not names:
        return None
    measure = next((measure for measure, _ in sizes.values()), "")
    logs = {name: math.log10(max(1.0, size)) for name, (_, size) in sizes.items()}
    worst = max(logs.values(), default=0.0)
    shares = {name: logs[name] / worst for name in logs} if worst >= VISIBLE else {}
    if (beginning := _beginning([name for name in shares if shares[name] >= OFF], curves)) is not None:
        shares[BEGINNING] = beginning
    return Pattern(names=names, shares=_ranked(shares), size=worst if sizes and not names else None, measure=measure)


def alike(one: Pattern, other: Pattern) -> bool:
    """Whether one fault may show both: no stratum is off in one and right in the other, and sizes are near."""
    if one.names != other.names:
        return False
    for name in one.shares.keys() & other.shares.keys():
        low, high = sorted((one.shares[name], other.shares[name]))
        if high >= OFF and low <= RIGHT:
            return False
    if one.size is None or other.size is None or one.measure != other.measure:
        return True
    return abs(one.size - other.size) <= DECADES


def _sizes(numbers: Mapping[str, float]) -> Iterator[tuple[str, tuple[str, float]]]:
    """By stratum: in what its divergence is measured, and how many times what rounding explains it is."""
    for key, value in numbers.items():
        if key.startswith(NO_STRATUM):
            continue
        for ending, name in (
            ("_ratio", "ratio"),
            ("_rms", "rms"),
            ("_hard_mismatches", "text"),
            ("_unexplained", "text"),
        ):
            stratum = key.removesuffix(ending)
            if stratum == key or stratum.endswith("_noise"):
                continue
            if name == "rms":
                value /= numbers.get(f"{stratum}_noise_rms") or math.inf
            elif name == "text":
                value *= PER_TOKEN / max(1.0, numbers.get(f"{stratum}_tokens", 1.0))
            yield stratum, (name, value)


def _names(reason: str, numbers: Mapping[str, float]) -> Iterator[str]:
    if "shifted by one position" in reason:
        yield "shifted by one position"
    for ending, name in (("_nonfinite", "not finite"), ("_foreign", "foreign")):
        if any(value > 0 for key, value in numbers.items() if key.endswith(ending)):
            yield name


def _beginning(off: Sequence[str], curves: Mapping[str, Sequence[float]]) -> float | None:
    """The share of the first positions, in the first of some strata whose curve shows something; None without one."""
    for stratum in off:
        own, noise = (curves.get(f"{stratum}_{name}_nats", ()) for name in ("engine", "noise_high"))
        times = [max(1.0, one / other) for one, other in zip(own, noise, strict=True) if other > 0]
        if times and math.log10(max(times)) >= VISIBLE:
            return math.log10(times[0]) / math.log10(max(times))
    return None


def _ranked(shares: Mapping[str, float]) -> dict[str, float]:
    """Strata named by the rank of their length: models of one family break at other lengths in the same way."""
    lengths = sorted({int(length) for name in shares for length in LENGTH.findall(name)})
    return {LENGTH.sub(lambda found: f"#{1 + lengths.index(int(found[0]))}", name): shares[name] for name in shares}
