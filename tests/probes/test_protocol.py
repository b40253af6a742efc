"""Protocol: a server of a model that says what is written down, and of one that says what it likes.

Every fault of the fake engine's chat route is found, by the check that is for it; what is the same but right passes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell, ScriptSource
from matrix.results import Status, Verdict
from probes import protocol
from tests.fake_engine import adapter, bench

FREE = bench.CELL
SCRIPTED = msgspec.structs.replace(
    FREE,
    model=msgspec.structs.replace(FREE.model, source=ScriptSource(format="hermes"), tools="hermes", reasoning="qwen3"),
)


def verdict_of(cell: Cell, folder: Path, *behaviours: str) -> Verdict:
    return bench.verdict_of(protocol.PROBE, adapter.fake_engine(*(behaviours or ("healthy",))), folder, cell=cell)


def test_a_server_that_keeps_to_the_protocol_passes(tmp_path: Path) -> None:
    """And the verdict says what was asked."""
    verdict = verdict_of(SCRIPTED, tmp_path)
    assert (verdict.status, verdict.reason) == (
        Status.PASS,
        "9 conversations are rendered as the template does, by their ids; 15 prescribed answers are read rightly, "
        "whole and streamed; 9 bad requests are refused",
    )
    assert verdict.evidence["answer to no JSON"] == "400"


def test_of_a_model_that_says_what_it_likes_less_is_asked(tmp_path: Path) -> None:
    """Its calls and thoughts prove nothing; its logprobs do."""
    verdict = verdict_of(FREE, tmp_path)
    only = "(only of a checkpoint that says what is written down)"
    assert (verdict.status, verdict.reason) == (
        Status.PASS,
        "9 conversations are rendered as the template does, by their ids; 9 bad requests are refused; "
        f"not asked: tool calls {only}, reasoning {only}",
    )
    assert verdict.evidence["logprobs at a temperature are"] == "raw"


def test_what_an_engine_lacks_is_said(tmp_path: Path) -> None:
    """An engine of text alone has neither ids nor structured output."""
    verdict = bench.verdict_of(protocol.PROBE, adapter.fake_engine(takes="text"), tmp_path, cell=FREE)
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("9 conversations are rendered as the template does, by their number of tokens; ")
    assert verdict.reason.endswith("a JSON schema (the engine has none), a regular expression (the engine has none)")


@pytest.mark.parametrize("behaviour", ["bos-by-tokenizer", "respaces", "other-field", "pieces=4", "processed-logprobs"])
@pytest.mark.parametrize("cell", [FREE, SCRIPTED], ids=["free", "scripted"])
def test_another_way_to_be_right_passes(cell: Cell, behaviour: str, tmp_path: Path) -> None:
    """A BOS from the tokenizer, arguments written anew, another field's name, coarser events, other logprobs."""
    assert verdict_of(cell, tmp_path, behaviour).status is Status.PASS


@pytest.mark.parametrize(
    ("behaviour", "check", "said"),
    [
        ("doubled-bos", "prompt", "one question: its prompt has 2 BOS where the template gives 1"),
        (
            "system-lost",
            "prompt",
            "a system prompt: its prompt of 80 tokens parts from the template's 133 at position 13",
        ),
        ("tool-result-lost", "prompt", "a tool's result: its prompt of "),
        ("normalises", "prompt", "unusual characters: its prompt of 137 tokens parts from the template's 138"),
        ("usage-twice", "usage", "an answer cut short: counts 6 tokens where 3 were allowed"),
        ("usage-lost", "usage", "an answer cut short: counts 29 tokens of a prompt of 80"),
        ("always-stop", "end", "an answer cut short: says it ended by 'stop' where it ran out of tokens"),
        ("stop-kept", "stop words", "a stop word: the answer holds it: "),
        ("unconstrained", "structured output", "a JSON schema: "),
        ("half-processed", "logprobs at a temperature", "at temperature 0.5 the likeliest id has "),
        ("last-piece-lost", "streams", "a streamed answer: streamed content is "),
    ],
)
def test_faults_that_any_model_shows(behaviour: str, check: str, said: str, tmp_path: Path) -> None:
    """Each is found by its own check."""
    verdict = verdict_of(FREE, tmp_path, behaviour)
    assert verdict.status is Status.FAIL
    assert verdict.reason.startswith(f"{check}: {said}")


@pytest.mark.parametrize(
    ("behaviour", "check", "said"),
    [
        ("missing-stop", "prescribed words", "an end that generation_config.json alone names: content is "),
        ("empty-call-lost", "prescribed words", "a call without arguments: gives no call where the model wrote "),
        ("second-call-lost", "prescribed words", "two calls: gives "),
        ("leaks-reasoning", "prescribed words", "a thought before the answer: reasoning is '' where "),
        ("content-as-reasoning", "prescribed words", "plain text: reasoning is "),
        ("calls-as-content", "prescribed words", "a call without arguments: content is "),
        ("same-call-ids", "prescribed words", "two calls: its calls have the ids ['call-0', 'call-0']"),
        ("cut-characters", "streams", "characters of several tokens, streamed: streamed content is "),
        ("stream-without-calls", "streams", "a call without arguments, streamed: streamed content is "),
        ("last-piece-lost", "stop words", "a stop word in a stream: "),
        ("ill-of-bad", "after bad requests", "after bad requests the answer is "),
    ],
)
def test_faults_that_prescribed_words_show(behaviour: str, check: str, said: str, tmp_path: Path) -> None:
    """Each is found by its own check, whatever a model would have happened to say."""
    verdict = verdict_of(SCRIPTED, tmp_path, behaviour)
    assert verdict.status is Status.FAIL
    assert verdict.reason.startswith(f"{check}: {said}")


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("accepts-anything", "bad requests: no JSON: answered as if it were right; "),
        ("breaks-on-bad", "bad requests: no JSON: 500, as if it were the server's own fault: "),
    ],
)
def test_bad_requests_taken_badly_make_no_answer_wrong(behaviour: str, said: str, tmp_path: Path) -> None:
    """So they degrade, and do not fail."""
    verdict = verdict_of(FREE, tmp_path, behaviour)
    assert verdict.status is Status.DEGRADED
    assert verdict.reason.startswith(said)


def test_a_server_that_dies_of_a_bad_request_has_crashed(tmp_path: Path) -> None:
    """With its own last words."""
    verdict = verdict_of(FREE, tmp_path, "dies-of-bad")
    assert verdict.status is Status.CRASH
    assert "the fake engine broke down" in verdict.reason


def test_a_server_of_somebody_else_gets_no_bad_requests(tmp_path: Path) -> None:
    """It might not live on; the sentence says that they were not asked."""
    engine = adapter.fake_engine("dies-of-bad")
    with bench.launched(engine, tmp_path, cell=FREE) as server:
        theirs = msgspec.structs.replace(server, log_path=None)
        verdict = protocol.judge(protocol.measure(theirs, FREE, bench.bench()), FREE)
    assert verdict.status is Status.PASS
    assert "bad requests (the server is somebody else's, and might not live on)" in verdict.reason
