"""State and batch: engines that are right by themselves, and wrong by what they keep or by what they compute beside.

Every fault of the fake engine has a null twin: the same machinery at work, and nothing wrong.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from matrix.results import Status, Verdict
from probes import batch, state, ways
from probes.ways import Ways
from tests.fake_engine import adapter, bench

SMALL = bench.with_workload(state_sequences=8, batch_sequences=40)
LINGER = "linger=0.03"
"""So that requests which are sent at once are in flight at once."""

ALL_HIT = "the cache was hit in 64 of 64 requests"


def test_an_engine_that_caches_rightly_passes(tmp_path: Path) -> None:
    """And the report proves that its cache was hit."""
    verdict = bench.verdict_of(state.PROBE, adapter.fake_engine(LINGER, "crosstalk=0"), tmp_path, cell=SMALL)
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("8 prompts are answered alike in 11 ways, within ")
    assert verdict.reason.endswith(ALL_HIT)
    assert verdict.evidence["in chunks of 37: from the cache"] == "8 of 8 requests, 208 to 208 tokens"
    aligned = verdict.evidence[f"{state.AFTER_ALIGNED}: from the cache"]
    assert aligned == "8 of 8 requests, 128 to 128 tokens"


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [("forgetful", "the cache was never hit"), ("hides-cache", "the engine does not say whether its cache was hit")],
)
def test_that_nothing_was_cached_is_said(behaviour: str, said: str, tmp_path: Path) -> None:
    """A PASS of an engine that computed everything anew, or does not tell, proves less, and says so."""
    verdict = bench.verdict_of(state.PROBE, adapter.fake_engine(behaviour), tmp_path, cell=SMALL)
    assert verdict.status is Status.PASS
    assert verdict.reason.endswith(said)


@pytest.mark.parametrize(
    ("behaviour", "way"),
    [
        ("stale-block", state.AFTER_UNALIGNED),
        ("chunk-start-state", state.WHOLE),
        ("chunk-start-state", state.AFTER_ALIGNED),
        ("chunk-start-state", "in chunks of 64"),
        ("chunk-start-state", state.RE_PREFILLED),
    ],
)
def test_what_is_taken_over_wrongly_is_found(behaviour: str, way: str, tmp_path: Path) -> None:
    """And by the way that leads through it."""
    verdict = bench.verdict_of(state.PROBE, adapter.fake_engine(behaviour), tmp_path, cell=SMALL)
    assert verdict.status is Status.FAIL
    assert f"{way}: " in verdict.reason


def test_what_leaks_from_one_request_to_another_is_found_by_both(tmp_path: Path) -> None:
    """Next to a cached prompt's neighbours, and in a batch."""
    engine = adapter.fake_engine(LINGER, "crosstalk=4")
    kept = bench.verdict_of(state.PROBE, engine, tmp_path, cell=SMALL)
    assert (kept.status, kept.reason.split(":")[0]) == (Status.FAIL, state.BESIDE)
    batched = bench.verdict_of(batch.PROBE, engine, tmp_path, cell=SMALL)
    assert batched.status is Status.FAIL
    assert all(f"{way}: " in batched.reason for way in (batch.A_FEW, batch.AT_ONCE, batch.MIXED))


def test_one_swapped_answer_in_forty_is_found(tmp_path: Path) -> None:
    """By the one answer that is to another question; all others are as they are alone."""
    verdict = bench.verdict_of(batch.PROBE, adapter.fake_engine("linger=0.1", "swaps=40"), tmp_path, cell=SMALL)
    assert verdict.status is Status.FAIL
    assert "1 answer shares less than half of the probable tokens with what is answered alone" in verdict.reason


@pytest.mark.parametrize("behaviour", ["swaps=0", "crosstalk=0"])
def test_an_engine_that_batches_rightly_passes(behaviour: str, tmp_path: Path) -> None:
    """Rounding that depends on what is computed beside is no fault."""
    verdict = bench.verdict_of(batch.PROBE, adapter.fake_engine(LINGER, behaviour), tmp_path, cell=SMALL)
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("40 prompts are answered alike in 4 ways, within ")


def test_texts_are_compared_where_there_are_no_logprobs(tmp_path: Path) -> None:
    """The same text passes; a swapped one is an answer to another question."""
    healthy = adapter.fake_engine(LINGER, "swaps=0", takes="text")
    verdict = bench.verdict_of(batch.PROBE, healthy, tmp_path, cell=SMALL)
    assert (verdict.status, verdict.reason) == (Status.PASS, "40 prompts are answered alike in 4 ways, as text")
    swapping = adapter.fake_engine(LINGER, "swaps=8", takes="text")
    verdict = bench.verdict_of(batch.PROBE, swapping, tmp_path, cell=SMALL)
    assert verdict.status is Status.FAIL
    assert "where rounding cannot explain it" in verdict.reason


def test_float32_says_how_far_and_bits_say_so(tmp_path: Path) -> None:
    """What is the same to the bit is told apart from what is nearly so."""
    told = {
        0.0: "8 prompts are answered alike in 11 ways, to the bit",
        1e-6: "8 prompts are answered alike in 11 ways, within 1e-06 nats (the whole prompt cached)",
    }
    values = Ways(answers="logprobs", top_k=20, ways=(), sequences=8)
    cell = msgspec.structs.replace(SMALL, config=msgspec.structs.replace(SMALL.config, dtype="float32"))
    for far, said in told.items():
        numbers = {"largest": far} if far else {"tokens": 96.0}
        verdicts = {
            name: Verdict(status=Status.PASS, reason="", numbers=numbers) for name in (state.WHOLE, *"abcdefghi")
        }
        assert ways.sentence(verdicts, Status.PASS, values, cell) == said


def test_a_cold_answer_that_is_no_number_is_not_left_out(tmp_path: Path) -> None:
    """Whatever the warm ones say."""
    on = bench.bench(SMALL.device.workload)
    with bench.launched(adapter.fake_engine(), tmp_path, cell=SMALL) as server:
        measurement = batch.PROBE.measure(server, SMALL, on)
    cold = measurement.tables[ways.COLD]
    row, column = np.argwhere(cold["compared"])[0]
    cold["target_logprobs"][row, column] = np.nan
    verdict = ways.judge(measurement, SMALL)
    assert verdict.status is Status.FAIL
    assert "1 logprobs of the cold answers are not finite" in verdict.reason
