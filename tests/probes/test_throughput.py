"""Throughput: the definitions of its numbers, and when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.results import Measurement, Status, Verdict
from probes import throughput
from probes.throughput import Request, Round, Throughput
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, WORKLOAD, bench, launched

REQUEST = Request(ttft_s=0.5, end_s=2.0, prompt_tokens=100, usage_tokens=16, id_tokens=16, chunks=16)


def values(*rounds: Round, workers: int = 1) -> Throughput:
    return Throughput(prompt_tokens=100, output_tokens=16, warm_up_s=1.0, workers=workers, rounds=rounds)


def judged(what: Throughput) -> Verdict:
    return throughput.judge(Measurement(values=msgspec.to_builtins(what)), CELL)


def of(**changes: Any) -> Throughput:
    request = msgspec.structs.replace(REQUEST, **changes)
    return values(Round(concurrency=1, seconds=2.0, requests=(request,)))


def test_speeds_follow_their_definitions() -> None:
    """TTFT to the first token, TPOT without it, prompt tokens over TTFT, output tokens over the whole round."""
    numbers = throughput.summary(of())
    assert numbers["ttft_s_c1"] == 0.5
    assert numbers["tpot_s_c1"] == pytest.approx(1.5 / 15)
    assert numbers["prompt_tokens_per_s_c1"] == pytest.approx(200)
    assert numbers["output_tokens_per_s_c1"] == pytest.approx(8)


def test_concurrent_requests_add_up() -> None:
    """The speed of a round counts the tokens of all its requests over its wall clock."""
    numbers = throughput.summary(values(Round(concurrency=4, seconds=2.0, requests=(REQUEST,) * 4)))
    assert numbers["output_tokens_per_s_c4"] == pytest.approx(32)


def test_repeats_give_median_and_deviation() -> None:
    """Of several rounds the median counts, with the median absolute deviation beside it."""
    rounds = [Round(concurrency=1, seconds=s, requests=(REQUEST,)) for s in (1.0, 2.0, 16.0)]
    numbers = throughput.summary(values(*rounds))
    assert numbers["output_tokens_per_s_c1"] == pytest.approx(8)
    assert numbers["output_tokens_per_s_c1_mad"] == pytest.approx(7)


def test_a_right_count_passes_with_its_numbers() -> None:
    """Every stream delivered what was asked: PASS, and one clause for each concurrency."""
    verdict = judged(values(*(Round(concurrency=c, seconds=2.0, requests=(REQUEST,) * c) for c in (1, 4))))
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("concurrency 1: 8 ± 0 output tokens/s")
    assert "; concurrency 4: 32 ± 0 output tokens/s" in verdict.reason


def test_company_is_told() -> None:
    """A timing taken beside other workers says so."""
    what = values(Round(concurrency=1, seconds=2.0, requests=(REQUEST,)), workers=2)
    assert judged(what).reason.endswith("measured beside 1 other worker(s)")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"usage_tokens": 32}, "usage counts 32 generated tokens, the stream carried 16 token ids"),
        ({"usage_tokens": 7, "id_tokens": 7}, "generated 7 tokens where exactly 16 were asked for"),
        ({"usage_tokens": 7, "id_tokens": None}, "generated 7 tokens where exactly 16 were asked for"),
        ({"usage_tokens": None, "id_tokens": 17}, "generated 17 tokens where exactly 16 were asked for"),
    ],
)
def test_a_wrong_count_fails(changes: dict[str, Any], sentence: str) -> None:
    """Usage against ids, and either against what was asked."""
    verdict = judged(of(**changes))
    assert verdict.status is Status.FAIL
    assert verdict.reason == sentence


def test_an_unknown_count_is_undecided() -> None:
    """A stream with neither ids nor usage gives no speed: chunks are no tokens."""
    verdict = judged(of(usage_tokens=None, id_tokens=None))
    assert verdict.status is Status.UNDECIDED
    assert verdict.numbers == {}


def test_every_round_is_measured(tmp_path: Path) -> None:
    """So many repeats at each concurrency, each request with the tokens that were asked for; warm-up left out."""
    with launched(fake_engine("healthy"), tmp_path) as server:
        found = msgspec.convert(throughput.measure(server, CELL, bench()).values, Throughput)
    assert [round.concurrency for round in found.rounds] == [1, 1, 2, 2]
    requests = [request for round in found.rounds for request in round.requests]
    assert {request.tokens for request in requests} == {WORKLOAD.speed_output_tokens}
    assert {request.prompt_tokens for request in requests} == {WORKLOAD.speed_prompt_tokens}
    assert all(0 < request.ttft_s <= request.end_s for request in requests)
