"""Loading: the verdict on a server that became ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.results import Measurement, Status, Verdict
from probes import loading
from probes.reference.stage import Coverage
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, bench, launched

GOOD = loading.Loading(
    launched=True,
    startup_s=12.3,
    needed_network=False,
    coverage=Coverage(tensors=10, missing=(), unexpected=(), mismatched=()),
    text="Paris",
    completion_tokens=8,
    finish_reason="length",
    healthy_after=True,
)


def judged(**changes: Any) -> Verdict:
    values = msgspec.structs.replace(GOOD, **changes)
    return loading.judge(Measurement(values=msgspec.to_builtins(values)), CELL)


def lacking(**names: tuple[str, ...]) -> Coverage:
    return msgspec.structs.replace(GOOD.coverage, **names)


def test_all_well_passes() -> None:
    """Ready, covered, answered and healthy: PASS, with the start-up time as a number."""
    verdict = judged()
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("ready in 12 s, offline; all 10 tensors accounted for")
    assert verdict.numbers == {"startup_s": 12.3}


@pytest.mark.parametrize("kind", ["missing", "mismatched"])
def test_a_hole_in_the_checkpoint_fails(kind: str) -> None:
    """A tensor that is missing or does not fit fails, by name, however well the engine answers."""
    verdict = judged(coverage=lacking(**{kind: ("lm_head.weight",)}))
    assert verdict.status is Status.FAIL
    assert verdict.reason == "serves a checkpoint that lacks lm_head.weight as healthy"


def test_many_holes_are_counted() -> None:
    """The sentence names three and counts the rest; the evidence names all."""
    verdict = judged(coverage=lacking(missing=tuple("abcde")))
    assert verdict.reason == "serves a checkpoint that lacks a, b, c and 2 more as healthy"
    assert verdict.evidence["tensors the checkpoint lacks"] == "a\nb\nc\nd\ne"


def test_a_tensor_too_many_is_no_fault_of_the_engine() -> None:
    """What the architecture has no use for does not fail the engine."""
    assert judged(coverage=lacking(unexpected=("mtp.weight",))).status is Status.PASS


def test_ill_after_an_answer_fails() -> None:
    """One request must not make the server ill."""
    assert judged(healthy_after=False).status is Status.FAIL


@pytest.mark.parametrize("changes", [{"completion_tokens": 0}, {"text": ""}])
def test_nothing_generated_fails(changes: dict[str, Any]) -> None:
    """No tokens, or no text, is no answer."""
    verdict = judged(**changes)
    assert verdict.status is Status.FAIL
    assert verdict.reason == "is healthy and generates nothing"


def test_an_unknown_count_is_no_fault() -> None:
    """An engine that does not count its tokens, and gives text, has answered."""
    assert judged(completion_tokens=None).status is Status.PASS


def test_needing_the_network_degrades() -> None:
    """Ready only online, though the model is local."""
    assert judged(needed_network=True).status is Status.DEGRADED


def test_the_measurement_holds_what_the_server_said(tmp_path: Path) -> None:
    """Text, count and reason are the engine's own; coverage is the reference's."""
    with launched(fake_engine("healthy"), tmp_path) as server:
        values = loading.measure(server, CELL, bench(lacking=("a",))).values
    assert values["completion_tokens"] == loading.TOKENS
    assert values["finish_reason"] == "length"
    assert len(values["text"].split()) == loading.TOKENS
    assert list(values["coverage"]["missing"]) == ["a"]
    assert values["healthy_after"] is True
