"""Streams that hold several tokens, burst, stall, end early or lie about their usage, from a server that logs them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from matrix.errors import EngineTimedOut
from matrix.results import Status, Verdict
from probes import loads, throughput
from probes.client import connect
from probes.stopwatch import Stopwatch
from probes.streamed import Streamed
from runners.engine import Ask, Prompt
from tests.fake_engine.bench import bench, with_workload
from tests.token_server.log import Sent
from tests.token_server.running import log, server_at, serving
from tests.token_server.serve import MODEL, Schedule

CELL = with_workload(speed_repeats=1)
FAST = Schedule(ttft_s=0.01, interval_s=0.002)
D1 = 8
"""Tokens asked for in the first shape."""


def fast(**changes: Any) -> Schedule:
    return msgspec.structs.replace(FAST, **changes)


def read(schedule: Schedule, tokens: int, deadline_s: float = 60.0) -> tuple[Streamed, Sent]:
    """One answer as the client reads it, and as it was sent."""
    ask = Ask(model=MODEL, prompt=Prompt(token_ids=(5, 6, 7), text=""), max_tokens=tokens, ignore_eos=True, stream=True)

    async def asked(url: str) -> Streamed:
        async with connect(server_at(url), Stopwatch(), deadline_s=deadline_s) as client:
            return (await loads.streams(client, [ask], 1))[0]

    with serving(schedule) as url:
        return asyncio.run(asked(url)), log(url)[0]


def judged(schedule: Schedule) -> Verdict:
    """The whole probe, of every shape."""
    with serving(schedule) as url:
        measurement = throughput.measure(server_at(url), CELL, bench(CELL.device.workload))
    return throughput.judge(measurement, CELL)


def not_before(found: Streamed, sent: Sent) -> bool:
    """No request is read before it was sent, and no event comes before it was sent: one clock tells both."""
    arrived = [found.sent_s + at_s for at_s in found.at_s]
    causal = all(at_s >= sent_ns / 1e9 for at_s, sent_ns in zip(arrived, sent.sent_ns, strict=True))
    return causal and found.sent_s <= sent.read_ns / 1e9


@pytest.mark.parametrize(
    "schedule",
    [
        FAST,
        fast(tokens_per_event=4),
        fast(burst=3),
        fast(stall_after=2, stall_s=0.1),
        fast(usage="none"),
    ],
    ids=["steady", "four a chunk", "bursts", "a stall", "no usage"],
)
def test_every_event_is_read_with_its_tokens(schedule: Schedule) -> None:
    """As many events as were sent, with the tokens that each of them held, none before it was sent."""
    found, sent = read(schedule, tokens=10)
    assert found.tokens == sent.tokens
    assert found.total == 10
    assert not_before(found, sent)


def test_a_stall_without_end_has_an_end() -> None:
    """The deadline of a request, and whose fault the silence is."""
    with pytest.raises(EngineTimedOut, match="/v1/completions did not end within 1 s"):
        read(fast(stall_after=2, stall_s=3600.0), tokens=8, deadline_s=1.0)


@pytest.mark.parametrize("usage", ["right", "none"])
def test_a_stream_that_counts_rightly_or_sends_ids_has_a_speed(usage: str) -> None:
    """Ids are enough."""
    verdict = judged(fast(usage=usage))
    assert verdict.status is Status.PASS
    assert verdict.numbers["D1_output_tokens_per_s"] > 0


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (
            fast(usage="double"),
            f"usage counts {2 * D1} generated tokens, the stream carried {D1} token ids",
        ),
        (
            fast(usage="double", ids=False),
            f"generated {2 * D1} tokens where exactly {D1} were asked for",
        ),
        (fast(end_after=1), f"generated 1 tokens where exactly {D1} were asked for"),
        (
            fast(usage="none", ids=False),
            "the stream says neither token ids nor usage: tokens unknown",
        ),
    ],
    ids=["usage doubled", "usage doubled, no ids", "ends early", "neither usage nor ids"],
)
def test_a_stream_that_counts_wrongly_has_none(schedule: Schedule, sentence: str) -> None:
    """A sentence, and no number that could be taken for a speed."""
    verdict = judged(schedule)
    assert verdict.reason == sentence
    assert verdict.status is (Status.UNDECIDED if "unknown" in sentence else Status.FAIL)
    assert verdict.numbers == {}
