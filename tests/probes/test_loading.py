"""Loading: the verdict on a server that became ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.errors import EngineCrashed, WrongInput
from matrix.results import Measurement, Status, Verdict
from probes import loading
from probes.reference.stage import Coverage
from runners import failure
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, COVERAGE, bench, launched, verdict_of

GOOD = loading.Loading(
    launched=True,
    startup_s=12.3,
    needed_network=False,
    coverage=COVERAGE,
    text="Paris",
    completion_tokens=8,
    finish_reason="length",
    healthy_after=True,
)


def judged(**changes: Any) -> Verdict:
    values = msgspec.structs.replace(GOOD, **changes)
    return loading.judge(Measurement(values=msgspec.to_builtins(values)), CELL)


def covering(**changes: Any) -> Coverage:
    return msgspec.structs.replace(COVERAGE, **changes)


def test_all_well_passes() -> None:
    """Ready, covered, answered and healthy: PASS, with the start-up time as a number."""
    verdict = judged()
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("ready in 12 s, offline; all 12 tensors accounted for")
    assert verdict.numbers == {"startup_s": 12.3}


@pytest.mark.parametrize("kind", ["missing", "mismatched"])
def test_a_hole_in_the_checkpoint_fails(kind: str) -> None:
    """A tensor that is missing or does not fit fails, by name, however well the engine answers."""
    verdict = judged(coverage=covering(**{kind: ("lm_head.weight",)}))
    assert verdict.status is Status.FAIL
    assert verdict.reason == "serves a checkpoint that lacks lm_head.weight as healthy"


def test_many_holes_are_counted() -> None:
    """The sentence names three and counts the rest; the evidence names all."""
    verdict = judged(coverage=covering(missing=tuple("abcde")))
    assert verdict.reason == "serves a checkpoint that lacks a, b, c and 2 more as healthy"
    assert verdict.evidence["tensors the checkpoint lacks"] == "a\nb\nc\nd\ne"


def test_a_tensor_too_many_is_no_fault_of_the_engine() -> None:
    """What the architecture has no use for, such as an MTP head, is named and does not fail the engine."""
    verdict = judged(coverage=covering(unexpected=("mtp.fc.weight", "mtp.norm.weight")))
    assert verdict.status is Status.PASS
    assert verdict.reason.endswith(
        "; the checkpoint also has mtp.fc.weight, mtp.norm.weight, which its architecture has no use for"
    )
    assert verdict.evidence["tensors that the architecture has no use for"] == "mtp.fc.weight\nmtp.norm.weight"


@pytest.mark.parametrize("largest", [0, 250, 299])
def test_fewer_ids_than_rows_are_padding(largest: int) -> None:
    """Output matrices are padded to round sizes: nothing is said of it."""
    coverage = covering(largest_id=largest)
    assert coverage.fault is None
    assert judged(coverage=coverage) == judged()


def test_a_special_token_without_a_row_is_told() -> None:
    """No text gives it: gemma-3-1b-it is such a model, and it runs."""
    verdict = judged(coverage=covering(largest_special_id=300))
    assert verdict.status is Status.PASS
    assert verdict.reason.endswith("; the tokenizer has special tokens up to id 300, the model has 300 rows")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"largest_id": 300}, "the tokenizer gives ids up to 300 but the model has 300 rows"),
        (
            {"rows": 0, "tensors": 0, "unknown": "config.json has model_type 'x', which transformers 5 does not know"},
            "config.json has model_type 'x', which transformers 5 does not know",
        ),
    ],
    ids=["tokenizer", "config"],
)
def test_a_checkpoint_at_fault_blames_no_engine(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    """It is found before the engine is asked anything: one that would die of the request is not even asked."""
    there = bench(covered=covering(**changes))
    verdict = verdict_of(loading.PROBE, fake_engine("die-on-request=1"), tmp_path, on=there)
    assert verdict.status is Status.ERROR
    assert verdict.reason == sentence


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"missing": ("a.weight",)}, "the checkpoint lacks a.weight"),
        ({"mismatched": ("a.weight",)}, "the checkpoint lacks a.weight"),
        ({"largest_id": 301}, "the tokenizer gives ids up to 301 but the model has 300 rows"),
        ({"rows": 0, "unknown": "config.json has model_type 'x'"}, "config.json has model_type 'x'"),
    ],
    ids=["missing", "mismatched", "tokenizer", "config"],
)
def test_refusing_a_bad_checkpoint_is_no_crash(changes: dict[str, Any], fault: str) -> None:
    """An engine that ends over a checkpoint at fault did what it should: no status that blames it, and its log kept."""
    crash = failure.explain_exit(1, "ValueError: bad shape", while_doing="loading")
    assert isinstance(crash, EngineCrashed)
    excuse = covering(**changes).excuse(crash)
    assert isinstance(excuse, WrongInput)
    assert failure.status_of(excuse) is Status.ERROR
    reason, evidence = failure.describe(excuse)
    assert reason == f"{fault}; the engine does not take it: exited with code 1 while loading: ValueError: bad shape"
    assert evidence == {"log tail": "ValueError: bad shape"}


@pytest.mark.parametrize("changes", [{}, {"unexpected": ("mtp.weight",)}, {"largest_special_id": 300}])
def test_a_good_checkpoint_excuses_no_crash(changes: dict[str, Any]) -> None:
    """Padding, heads without a use and image tokens are in good checkpoints too."""
    assert covering(**changes).excuse(EngineCrashed("it broke")) is None


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
        values = loading.measure(server, CELL, bench(covered=covering(missing=("a",)))).values
    assert values["completion_tokens"] == loading.TOKENS
    assert values["finish_reason"] == "length"
    assert len(values["text"].split()) == loading.TOKENS
    assert list(values["coverage"]["missing"]) == ["a"]
    assert values["healthy_after"] is True
