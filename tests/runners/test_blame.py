"""DESIGN's table of blame, row by row: a real process misbehaves, and a run says whose doing it was."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from matrix.errors import EngineTimedOut, Infrastructure, NeedsNetwork
from matrix.results import Status, Verdict
from probes import correctness, loading, throughput
from probes.probe import Probe
from runners import reap, venv
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import (
    CELL,
    COVERAGE,
    ENVIRONMENT,
    MARK,
    WORKLOAD,
    bench,
    heed_interrupts,
    launched,
    marked,
    spec,
    verdict_of,
    with_workload,
)

CRIED = "RuntimeError: the fake engine broke down"
SHORT_S = 1.0


def loads(folder: Path, *behaviours: str, deadline_s: float = 20.0) -> Verdict:
    return verdict_of(loading.PROBE, fake_engine(*behaviours), folder, deadline_s=deadline_s)


def is_right(folder: Path, *behaviours: str) -> Verdict:
    few = with_workload(corpus_sequences=8, corpus_length=32, decode_sequences=4, decode_tokens=16)
    return verdict_of(correctness.PROBE, fake_engine(*behaviours), folder, cell=few)


def is_fast(folder: Path, *behaviours: str) -> Verdict:
    return verdict_of(throughput.PROBE, fake_engine(*behaviours), folder)


# --- healthy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [loading.PROBE, correctness.PROBE, throughput.PROBE], ids=lambda probe: probe.name)
def test_a_healthy_engine_passes(probe: Probe, tmp_path: Path) -> None:
    """Every probe passes an engine that differs from the reference by rounding noise alone."""
    verdict = verdict_of(probe, fake_engine(), tmp_path)
    assert verdict.status is Status.PASS, verdict.reason


def test_a_slow_start_passes(tmp_path: Path) -> None:
    """An engine that is slow to become ready, and is so before the deadline, passes."""
    assert loads(tmp_path, "slow-start=1").status is Status.PASS


def test_noise_beyond_the_models_own_is_not_passed(tmp_path: Path) -> None:
    """An engine with three times the rounding noise, so nine times the divergence, fails correctness."""
    verdict = is_right(tmp_path, "noisy=3")
    assert verdict.status is Status.FAIL
    assert "x the model's own rounding noise" in verdict.reason


# --- while loading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 137])
def test_an_exit_while_loading_with_its_own_words_is_a_crash(code: int, tmp_path: Path) -> None:
    """Whatever the exit code, 0 included, a traceback in the log makes it the engine's crash, quoted."""
    verdict = loads(tmp_path, f"exit-loading={code}")
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"exited with code {code} while loading: {CRIED}"
    assert CRIED in verdict.evidence["log tail"]


@pytest.mark.parametrize("code", [0, 1, 3, 137])
def test_an_exit_while_loading_without_a_word_is_our_error(code: int, tmp_path: Path) -> None:
    """Without the engine's own words nothing shows that it is to blame."""
    verdict = loads(tmp_path, f"exit-silently={code}")
    assert verdict.status is Status.ERROR
    assert verdict.reason.startswith(f"exited with code {code} while loading without a word of its own")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE])
def test_a_fault_signal_is_a_crash(number: signal.Signals, tmp_path: Path) -> None:
    """A segmentation fault or an abort is the engine's own, even without a word in its log."""
    verdict = loads(tmp_path, f"signal-loading={number.value}")
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"ended by {number.name} while loading"


def test_killed_without_a_word_is_our_error(tmp_path: Path) -> None:
    """Signal 9 without the engine's words is the host's doing until something else is shown."""
    verdict = loads(tmp_path, f"signal-loading={signal.SIGKILL.value}")
    assert verdict.status is Status.ERROR
    assert "out of memory on the host, or killed from outside" in verdict.reason


def test_killed_after_its_own_words_is_a_crash(tmp_path: Path) -> None:
    """Signal 9 after the engine itself reported an error is the engine's crash."""
    verdict = loads(tmp_path, f"say={CRIED}", f"signal-loading={signal.SIGKILL.value}")
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"ended by SIGKILL while loading: {CRIED}"


def test_an_illegal_instruction_is_our_error(tmp_path: Path) -> None:
    """A build for another processor is our choice, so SIGILL does not blame the engine."""
    verdict = loads(tmp_path, f"signal-loading={signal.SIGILL.value}")
    assert verdict.status is Status.ERROR
    assert verdict.reason == "ended by SIGILL while loading: the build needs instructions that this processor lacks"


def test_never_healthy_is_a_timeout(tmp_path: Path) -> None:
    """A process that lives and is not healthy by the deadline has timed out."""
    verdict = loads(tmp_path, "never-healthy", deadline_s=SHORT_S)
    assert verdict.status is Status.TIMEOUT
    assert verdict.reason == "not healthy after 1 s, though its process is alive"
    assert "fake engine" in verdict.evidence["log tail"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("OSError: [Errno 98] Address already in use", "the port is taken"),
        ("x.cpp:80:10: fatal error: Python.h: No such file", "its environment lacks a compiler or Python's headers"),
        ("OSError: [Errno 12] Cannot allocate memory", "the host is out of memory"),
        ("huggingface_hub.errors.GatedRepoError: 403 Client Error", "the hub refuses: accept the licence"),
    ],
)
def test_the_machines_faults_are_our_error(words: str, sentence: str, tmp_path: Path) -> None:
    """A traceback about disk, port, memory or licence is about us, not about the engine."""
    verdict = loads(tmp_path, f"say={words}", "exit-loading=1")
    assert verdict.status is Status.ERROR
    assert verdict.reason == f"exited with code 1 while loading: {sentence}"


def test_wanting_the_network_has_a_sentence_of_its_own(tmp_path: Path) -> None:
    """An engine that reaches for the hub offline is not called broken before it was tried online."""
    verdict = loads(tmp_path, "say=OfflineModeIsEnabled: cannot reach the hub", "exit-loading=1")
    assert verdict.status is Status.ERROR
    assert verdict.reason.endswith("it needs the network at run time though its model is local")


def test_an_engine_that_cannot_be_started_is_our_error(tmp_path: Path) -> None:
    """A missing interpreter is a broken environment, so ours."""
    broken = replace(spec(), environment=replace(ENVIRONMENT, python=tmp_path / "python"))
    launch = venv.launch(fake_engine("healthy"), broken, tmp_path / "engine.log")
    with pytest.raises(Infrastructure, match="could not be started"):
        launch.__enter__()


def test_a_death_is_explained_by_its_own_words(tmp_path: Path) -> None:
    """What an earlier launch left in the same log does not explain a later one: the second try starts clean."""
    first_try = launched(fake_engine("say=OfflineModeIsEnabled", "exit-silently=1"), tmp_path)
    with pytest.raises(NeedsNetwork):
        first_try.__enter__()
    verdict = loads(tmp_path, "exit-loading=1")
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"exited with code 1 while loading: {CRIED}"


# --- while serving ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [loading.PROBE, correctness.PROBE, throughput.PROBE], ids=lambda probe: probe.name)
def test_dying_of_the_first_request_is_a_crash(probe: Probe, tmp_path: Path) -> None:
    """Healthy, and gone with exit code 0 at the first request: a crash that names the code."""
    verdict = verdict_of(probe, fake_engine("die-on-request=0"), tmp_path)
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"exited with code 0 while serving: {CRIED}"


def test_a_segmentation_fault_while_serving_is_a_crash(tmp_path: Path) -> None:
    """A fault signal at a request is the engine's crash."""
    verdict = loads(tmp_path, f"signal-on-request={signal.SIGSEGV.value}")
    assert verdict.status is Status.CRASH
    assert verdict.reason == "ended by SIGSEGV while serving"


def test_dying_in_the_middle_of_a_stream_is_a_crash(tmp_path: Path) -> None:
    """An exit code beats a report: a stream that ends with its server is a crash, not a broken protocol."""
    alone = with_workload(shapes=WORKLOAD.shapes[:1])
    verdict = verdict_of(throughput.PROBE, fake_engine("die-midway=1"), tmp_path, cell=alone)
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"exited with code 1 while serving: {CRIED}"


@pytest.mark.usefixtures("impatient")
def test_answering_500_is_a_crash(tmp_path: Path) -> None:
    """A server error from a living engine is its crash, quoted."""
    verdict = loads(tmp_path, "answer-500")
    assert verdict.status is Status.CRASH
    assert "answered 500" in verdict.reason
    assert "the engine loop is dead" in verdict.reason


def test_an_exit_code_beats_the_500_before_it(tmp_path: Path) -> None:
    """An engine that answers 500 and then exits is explained by its exit."""
    verdict = loads(tmp_path, "answer-500-and-die=0")
    assert verdict.status is Status.CRASH
    assert verdict.reason == f"exited with code 0 while serving: {CRIED}"


def test_refusing_our_request_is_our_error(tmp_path: Path) -> None:
    """A 4xx says that we asked wrongly."""
    verdict = loads(tmp_path, "answer-400")
    assert verdict.status is Status.ERROR
    assert verdict.reason.startswith("our request was refused: /generate answered 400")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("probe", [loading.PROBE, correctness.PROBE, throughput.PROBE], ids=lambda probe: probe.name)
def test_a_request_that_never_ends_is_a_timeout(probe: Probe, tmp_path: Path) -> None:
    """A living engine that does not answer by the deadline has timed out."""
    verdict = verdict_of(probe, fake_engine("stall"), tmp_path)
    assert verdict.status is Status.TIMEOUT
    assert "did not end within" in verdict.reason


@pytest.mark.usefixtures("impatient")
def test_a_stream_that_never_ends_is_a_timeout(tmp_path: Path) -> None:
    """Some events, and then nothing: timed out."""
    assert is_fast(tmp_path, "stall-midway").status is Status.TIMEOUT


# --- wrong answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["nan", "minus-infinity", "sentinel"])
def test_a_logprob_that_is_no_number_fails(behaviour: str, tmp_path: Path) -> None:
    """NaN, an infinity and -9999 in its place fail correctness, at the position where they stand."""
    verdict = is_right(tmp_path, behaviour)
    assert verdict.status is Status.FAIL
    assert "non-finite logprob at sequence 0 position 5 and 7 more" in verdict.reason


def test_logprobs_that_cannot_be_sent_fail(tmp_path: Path) -> None:
    """The 500 of an encoder that refuses NaN is a wrong answer, not a crash."""
    verdict = is_right(tmp_path, "not-json-compliant")
    assert verdict.status is Status.FAIL
    assert "its logprobs are not finite" in verdict.reason


@pytest.mark.parametrize("behaviour", ["permuted", "uniform", "constant", "other-model"])
def test_wrong_logprobs_fail(behaviour: str, tmp_path: Path) -> None:
    """Permuted ids, flat or constant distributions and another model's numbers all fail correctness."""
    verdict = is_right(tmp_path, behaviour)
    assert verdict.status is Status.FAIL
    assert "shifted" not in verdict.reason


@pytest.mark.parametrize(
    ("behaviour", "whose"), [("shifted", "that follow it"), ("shifted-back", "before those that predict it")]
)
def test_a_shift_is_named(behaviour: str, whose: str, tmp_path: Path) -> None:
    """Logprobs of the position next door fail, and the sentence says that they are shifted and which way."""
    verdict = is_right(tmp_path, behaviour)
    assert verdict.status is Status.FAIL
    assert f"shifted by one position: each token is scored with the logits {whose}" in verdict.reason


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("behaviour", ["close-midway", "cut-midway"])
def test_a_stream_cut_short_fails(behaviour: str, tmp_path: Path) -> None:
    """A stream that ends without a finish reason while the server lives breaks the protocol."""
    verdict = is_fast(tmp_path, behaviour)
    assert verdict.status is Status.FAIL, verdict.reason


def test_counting_twice_fails(tmp_path: Path) -> None:
    """Usage that counts twice the tokens that came fails throughput."""
    verdict = is_fast(tmp_path, "usage-twice")
    assert verdict.status is Status.FAIL
    assert verdict.reason == "usage counts 16 generated tokens, the stream carried 8 token ids"


def test_stopping_early_fails(tmp_path: Path) -> None:
    """An engine told to ignore the end of sequence that stops early fails throughput."""
    verdict = is_fast(tmp_path, "stops-early=3")
    assert verdict.status is Status.FAIL
    assert verdict.reason == "generated 3 tokens where exactly 8 were asked for"


def test_generating_nothing_fails(tmp_path: Path) -> None:
    """A healthy engine that generates nothing has not loaded the model."""
    verdict = loads(tmp_path, "generates-nothing")
    assert verdict.status is Status.FAIL
    assert verdict.reason == "is healthy and generates nothing"


def test_ill_after_the_first_answer_fails(tmp_path: Path) -> None:
    """An answer after which the engine is not healthy any more fails."""
    verdict = loads(tmp_path, "unhealthy-after")
    assert verdict.status is Status.FAIL
    assert verdict.reason == "answered a request and was not healthy after it"


def test_serving_a_checkpoint_with_a_hole_fails(tmp_path: Path) -> None:
    """A checkpoint that lacks a weight must be refused; served as healthy, it fails and the tensor is named."""
    tensor = "model.layers.1.mlp.down_proj.weight"
    verdict = verdict_of(loading.PROBE, fake_engine(), tmp_path, on=bench(covered=replace(COVERAGE, missing=(tensor,))))
    assert verdict.status is Status.FAIL
    assert verdict.reason == f"serves a checkpoint that lacks {tensor} as healthy"


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("fewer-rows", "scores 30 positions where 31 were asked for"),
        ("more-rows", "scores 32 positions where 31 were asked for"),
    ],
)
def test_another_number_of_positions_fails(behaviour: str, sentence: str, tmp_path: Path) -> None:
    """An answer with fewer or more positions than were asked for fails, with both counts."""
    verdict = is_right(tmp_path, behaviour)
    assert (verdict.status, verdict.reason) == (Status.FAIL, sentence)


def test_logprobs_of_another_id_fail(tmp_path: Path) -> None:
    """A row about another id than the one asked for fails, with the position and both ids."""
    verdict = is_right(tmp_path, "other-id")
    assert verdict.status is Status.FAIL
    found = re.fullmatch(r"its logprob at position 5 is of id (\d+), not of id (\d+)", verdict.reason)
    assert found is not None
    assert int(found[1]) == int(found[2]) + 1


def test_generating_an_id_that_the_model_has_no_row_for_fails(tmp_path: Path) -> None:
    """The reference could not score it, and that is the engine's doing."""
    verdict = loads(tmp_path, "generates-id=300")
    assert verdict.status is Status.FAIL
    assert re.fullmatch(
        r"generates token id 300 at position \d+, outside the model's vocabulary of 300", verdict.reason
    )


def test_an_answer_that_is_no_json_fails(tmp_path: Path) -> None:
    """A 200 whose body is no JSON breaks the protocol."""
    assert loads(tmp_path, "not-json").status is Status.FAIL


def test_an_answer_of_a_shape_that_we_do_not_know_is_ours(tmp_path: Path) -> None:
    """It may be our file that misunderstands the engine, and a false alarm costs more than a missed bug."""
    assert loads(tmp_path, "wrong-shape").status is Status.ERROR


# --- taking down ------------------------------------------------------------------------------------------

CHILD = "stubborn-child"
"""Has left the engine's process group and ignores SIGTERM."""


def up(mark: str) -> int:
    """How many processes of this test carry both marks."""
    found = marked(mark)
    assert all(venv.LABEL in process.environ() for process in found)
    return len(found)


def test_nothing_is_left_after_the_block(mark: str, tmp_path: Path) -> None:
    """The engine and a child that has left its group and ignores SIGTERM are gone when the block ends."""
    with launched(fake_engine(CHILD, environment={MARK: mark}), tmp_path):
        assert up(mark) == 2
    assert marked(mark) == []


@pytest.mark.parametrize(("kind", "child"), [(ValueError, 0), (SystemExit, 0), (KeyboardInterrupt, 1)])
def test_nothing_is_left_after_an_exception(kind: type[BaseException], child: int, mark: str, tmp_path: Path) -> None:
    """An exception inside the block, Ctrl-C included, passes through and leaves no process."""
    engine = fake_engine("healthy", *[CHILD] * child, environment={MARK: mark})
    with pytest.raises(kind), launched(engine, tmp_path):  # noqa: PT012 - what raises is the body itself
        assert up(mark) == 1 + child
        raise kind
    assert marked(mark) == []


def test_nothing_is_left_after_a_failed_start(mark: str, tmp_path: Path) -> None:
    """An engine that never became ready is taken down."""
    launch = launched(fake_engine("never-healthy", environment={MARK: mark}), tmp_path, deadline_s=SHORT_S)
    with pytest.raises(EngineTimedOut):
        launch.__enter__()
    assert marked(mark) == []


def test_children_of_an_engine_that_died_are_gone(mark: str, tmp_path: Path) -> None:
    """The child of an engine that is already dead is found by its label."""
    verdict = verdict_of(loading.PROBE, fake_engine("die-on-request=1", CHILD, environment={MARK: mark}), tmp_path)
    assert verdict.status is Status.CRASH
    assert marked(mark) == []


def test_an_engine_that_ignores_sigterm_is_killed(mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not stop in time is killed."""
    monkeypatch.setattr(venv, "TERMINATE_S", 0.5)
    with launched(fake_engine("stubborn", environment={MARK: mark}), tmp_path):
        assert up(mark) == 1
    assert marked(mark) == []


HOLDER = f"""
    import signal, sys, time
    from pathlib import Path
    from tests.fake_engine.adapter import fake_engine
    from tests.fake_engine.bench import launched

    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    folder, mark, *behaviours = sys.argv[1:]
    with launched(fake_engine("stubborn-child", *behaviours, environment={{"{MARK}": mark}}), Path(folder)):
        print("up", flush=True)
        time.sleep(60)
"""


@contextmanager
def holder(folder: Path, mark: str, *behaviours: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a launch of an engine with a stubborn child, and is ended with the block."""
    process = subprocess.Popen(
        [str(ENVIRONMENT.python), "-c", textwrap.dedent(HOLDER), str(folder), mark, *behaviours],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert up(mark) == 2
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_signal(number: signal.Signals, mark: str, tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C to the process that holds a launch end the engine and its children too."""
    with holder(tmp_path, mark) as process:
        process.send_signal(number)
        process.wait(20)
    assert marked(mark) == []


def test_nothing_is_left_after_a_second_interrupt(mark: str, tmp_path: Path) -> None:
    """Ctrl-C again while an engine that ignores SIGTERM is given its time to stop: it is killed at once."""
    with holder(tmp_path, mark, "stubborn") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGINT)
        process.wait(venv.TERMINATE_S / 2)
    assert marked(mark) == []


def test_only_orphans_are_reaped(mark: str, tmp_path: Path) -> None:
    """The engine of a killed run is killed; the engine of a run that is still going is not touched."""
    with holder(tmp_path, mark) as process:
        mine = {child.pid for child in marked(mark)}
        assert not any(str(pid) in line.split() for line in reap.reap_orphans() for pid in mine)
        assert up(mark) == 2
        process.kill()
        process.wait()
        killed = [line.split()[:2] for line in reap.reap_orphans()]
    assert all(["process", str(pid)] in killed for pid in mine)
    assert marked(mark) == []


def test_the_published_command_names_no_machine(tmp_path: Path) -> None:
    """What is published of the command line has placeholders for what differs between machines."""
    with launched(fake_engine(), tmp_path) as server:
        assert server.command[0] == "python"
        assert server.command[-2:] == ("--port", "PORT")
        assert server.engine_version == CELL.release.version


def test_the_engine_sees_no_secret_of_ours(mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, proxies and PYTHONPATH of the caller do not reach the engine, and it is told to stay offline."""
    for name in ("HF_TOKEN", "HTTPS_PROXY", "PYTHONPATH"):
        monkeypatch.setenv(name, "ours")
    with launched(fake_engine(environment={MARK: mark}), tmp_path):
        (process,) = marked(mark)
        seen = psutil.Process(process.pid).environ()
    assert not {"HF_TOKEN", "HTTPS_PROXY", "PYTHONPATH"} & set(seen)
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert sys.executable == str(ENVIRONMENT.python)


def test_listing_an_id_that_the_model_has_no_row_for_fails(tmp_path: Path) -> None:
    """An engine with another vocabulary fails, with the id, its position and the size."""
    verdict = is_right(tmp_path, "lists-id=300")
    assert verdict.status is Status.FAIL
    assert verdict.reason == "lists token id 300 at position 5, outside the model's vocabulary of 300"


def test_a_port_leaves_room_for_one_that_an_engine_derives_from_it() -> None:
    """One that is 10,000 higher must be a port, too."""
    assert all(venv.free_port() + 10_000 <= 65_535 for _ in range(200))
