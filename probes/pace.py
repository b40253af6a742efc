"""What speeds follow from measured answers, and how near they are to what the device could do. Pure.

MBU = bytes that a decode step must move / (TPOT * measured bandwidth); MFU = operations that a prompt needs /
(TTFT * measured FLOP/s). Both are bounds' shares: 1 is the roofline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from matrix.cells import Record, Shape
from probes.loads import COLD, Asked
from probes.streamed import Streamed


class Needs(Record, frozen=True, kw_only=True):
    """What the model needs at one shape."""

    step_bytes: float
    """Of one decode step of the whole batch, in the middle of the answer."""
    prefill_flops: float
    """Of one prompt."""


class DeviceSpeed(Record, frozen=True, kw_only=True):
    """What the device did in the engine's environment."""

    bandwidth_bytes_per_s: float
    flops_per_s: float
    dtype: str
    """That the matrices were multiplied in."""
    by: str
    """What multiplied and copied: torch, or numpy where the environment has no torch."""
    state: dict[str, str] = {}
    """Name, driver, clocks and temperature, where the device tells them."""


def samples(asked: Sequence[Asked], shape: Shape) -> dict[str, list[float]]:
    """By metric, one value per repeat; a metric that a repeat does not have is left out of it."""
    repeats = sorted({one.repeat for one in asked if one.shape == shape.id})
    found: dict[str, list[float]] = {}
    for repeat in repeats:
        mine = [one for one in asked if one.shape == shape.id and one.repeat == repeat]
        for name, value in (_conversation(mine, shape) if shape.turns > 1 else _at_once(mine)).items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return found


def _at_once(asked: Sequence[Asked]) -> dict[str, float | None]:
    answers = [one.answer for one in asked]
    ends = [answer.sent_s + answer.end_s for answer in answers if answer.end_s is not None]
    seconds = max(ends) - min(answer.sent_s for answer in answers) if ends else 0.0
    made = sum(answer.total or 0 for answer in answers)
    given = sum(answer.prompt_tokens or 0 for answer in answers)
    return {
        "output_tokens_per_s": made / seconds if seconds > 0 else None,
        "total_tokens_per_s": (made + given) / seconds if seconds > 0 else None,
        "ttft_s": _median(answers, lambda answer: answer.ttft_s),
        "tpot_s": _median(answers, lambda answer: answer.tpot_s),
        "e2e_s": _median(answers, lambda answer: answer.end_s),
        "itl_event_p50_s": _percentile([answer.gaps_s for answer in answers], 50),
        "itl_event_p99_s": _percentile([answer.gaps_s for answer in answers], 99),
        "itl_token_p50_s": _percentile([answer.token_gaps_s for answer in answers], 50),
        "itl_token_p99_s": _percentile([answer.token_gaps_s for answer in answers], 99),
    }


def _conversation(asked: Sequence[Asked], shape: Shape) -> dict[str, float | None]:
    def ttft(turn: int) -> float | None:
        return _median([one.answer for one in asked if one.turn == turn], lambda answer: answer.ttft_s)

    first, last, cold = ttft(0), ttft(shape.turns - 1), ttft(COLD)
    ratio = last / cold if last is not None and cold else None
    return {"first_ttft_s": first, "warm_ttft_s": last, "cold_ttft_s": cold, "warm_over_cold": ratio}


def _median(answers: Sequence[Streamed], of: Callable[[Streamed], float | None]) -> float | None:
    known = [value for value in map(of, answers) if value is not None]
    return float(np.median(known)) if known else None


def _percentile(gaps: Sequence[np.ndarray], percent: int) -> float | None:
    whole = np.concatenate(gaps)
    return float(np.percentile(whole, percent)) if len(whole) else None


def cost(found: Mapping[str, list[float]], price_per_hour: float | None) -> dict[str, list[float]]:
    """US dollars per million generated tokens of each repeat, where the device has a price and a load a rate."""
    rates = found.get("output_tokens_per_s", ())
    if price_per_hour is None or not rates:
        return {}
    return {"usd_per_million_output_tokens": [price_per_hour / 3600 / rate * 1e6 for rate in rates if rate > 0]}


def middle(values: Sequence[float]) -> tuple[float, float]:
    """Median and median absolute deviation."""
    centre = float(np.median(values))
    return centre, float(np.median(np.abs(np.array(values) - centre)))


UTILISATION = {"bandwidth": "mbu", "flops": "mfu"}
"""The name of the share of the bound that a shape runs into."""


def utilisation(
    found: Mapping[str, list[float]], shape: Shape, needs: Needs | None, device: DeviceSpeed | None
) -> dict[str, list[float]]:
    """MBU or MFU of each repeat; nothing for a conversation, and where the model's needs or the device are unknown."""
    if needs is None or device is None or shape.turns > 1:
        return {}
    if shape.bound == "bandwidth":
        times, least_s = found.get("tpot_s", ()), needs.step_bytes / device.bandwidth_bytes_per_s
    else:
        times, least_s = found.get("ttft_s", ()), needs.prefill_flops / device.flops_per_s
    shares = [least_s / time_s for time_s in times if time_s > 0]
    return {UTILISATION[shape.bound]: shares} if shares else {}


def speed(found: Mapping[str, list[float]], shape: Shape) -> list[float]:
    """What is compared between engines and between nights, per second and larger where better, of each repeat.

    Of a conversation, prompts whose beginning is cached (1 / TTFT); of prefill, all tokens; of many users, generated
    tokens; of a single user's decode, generated tokens but for the first (1 / TPOT), however long the prompt took.
    """
    if shape.turns > 1:
        return [1.0 / time_s for time_s in found.get("warm_ttft_s", ()) if time_s > 0]
    if shape.bound == "flops":
        return found.get("total_tokens_per_s", [])
    if shape.concurrency > 1:
        return found.get("output_tokens_per_s", [])
    return [1.0 / time_s for time_s in found.get("tpot_s", ()) if time_s > 0]
