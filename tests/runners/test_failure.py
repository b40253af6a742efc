"""How a death is read from its exit code and its log, and how an exception becomes a status."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from matrix import errors
from matrix.results import Status
from runners import failure
from runners.engine import Engine
from runners.engines import sglang, vllm

TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: bad shape'


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.EngineCrashed("x"), Status.CRASH),
        (errors.EngineTimedOut("x"), Status.TIMEOUT),
        (errors.EngineBrokeProtocol("x"), Status.FAIL),
        (errors.ArchitectureUnknown("x"), Status.FAIL),
        (errors.NonFiniteAnswer("x"), Status.FAIL),
        (errors.PrerequisiteNotMet("x"), Status.NOTRUN),
        (errors.NotSupported("x"), Status.SKIP),
        (errors.NeedsNetwork("x"), Status.ERROR),
        (errors.Infrastructure("x"), Status.ERROR),
        (errors.WrongInput("x"), Status.ERROR),
        (errors.ReadinessError("x"), Status.ERROR),
        (ValueError("x"), Status.ERROR),
        (AssertionError("x"), Status.ERROR),
        (TimeoutError("x"), Status.ERROR),
        (MemoryError(), Status.ERROR),
        (ExceptionGroup("x", [errors.EngineCrashed("x")]), Status.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.value,
)
def test_every_exception_has_one_status(error: Exception, status: Status) -> None:
    """Whatever is not positively recognised as the engine's fault is ERROR."""
    assert failure.status_of(error) is status


@pytest.mark.parametrize(
    ("code", "log", "kind"),
    [
        (1, TRACEBACK, errors.EngineCrashed),
        (0, TRACEBACK, errors.EngineCrashed),
        (1, "loading\ngoodbye", errors.Infrastructure),
        (0, "", errors.Infrastructure),
        (1, "GGML_ASSERT(n > 0) failed", errors.EngineCrashed),
        (1, "python: a.cc:3: void f(): Assertion `x' failed.", errors.EngineCrashed),
        (1, "terminate called after throwing an instance of 'std::runtime_error'", errors.EngineCrashed),
        (1, "RuntimeError: no kernel\nOSError: No space left on device", errors.Infrastructure),
        (1, "ModuleNotFoundError: No module named 'torchvision'\nValueError: failed", errors.Infrastructure),
        (1, f"torchcodec is unavailable: No module named 'torchcodec'\n{TRACEBACK}", errors.EngineCrashed),
        (1, "OSError: Can't load image processor for '/models/x'. If you were trying …", errors.Infrastructure),
        (1, f"WARNING: No space left on device\n{TRACEBACK}", errors.Infrastructure),
        (2, "Usage: t serve [OPTIONS]\n\nError: Got unexpected extra argument (/models/x)", errors.Infrastructure),
        (2, "usage: s [-h]\ns: error: unrecognized arguments: --new-option", errors.Infrastructure),
        (2, "usage: s [-h]\ns: error: argument --dtype: invalid choice: 'float32'", errors.Infrastructure),
        (1, f"WARNING: Temporary failure in name resolution\n{TRACEBACK}", errors.NeedsNetwork),
        (1, "socket.gaierror: Name or service not known", errors.NeedsNetwork),
        (-signal.SIGSEGV, "", errors.EngineCrashed),
        (-signal.SIGABRT, "", errors.EngineCrashed),
        (-signal.SIGILL, TRACEBACK, errors.Infrastructure),
        (-signal.SIGKILL, "", errors.Infrastructure),
        (-signal.SIGKILL, TRACEBACK, errors.EngineCrashed),
        (-signal.SIGTERM, "", errors.Infrastructure),
    ],
)
def test_the_table_of_blame(code: int, log: str, kind: type[Exception]) -> None:
    """Exit code and log decide together: words of the machine's faults first, then signals, then the engine's words."""
    assert type(failure.explain_exit(code, log, while_doing="loading")) is kind


@pytest.mark.parametrize(
    "words",
    [
        "  Value error, Model architectures ['NewForCausalLM'] are not supported for now. Supported architectures: …",
        "ValueError: NewForCausalLM has no SGlang implementation and the Transformers implementation is not compatible",
        "ERROR:hf-to-gguf:Model NewForCausalLM is not supported",
        "NotImplementedError: Architecture 'NewForCausalLM' not supported!",
        "error loading model: error loading model architecture: unknown model architecture: 'new'",
        "ValueError: Model type new not supported.",
        "ValueError: … has model type `new` but Transformers does not recognize this architecture.",
        "ValueError: Layer 0 (new) does not dispatch through the … interface and vLLM has no other way to handle it.",
    ],
)
def test_an_engine_that_does_not_know_an_architecture_is_told_apart(words: str) -> None:
    """In the engine's own words, whatever traceback stands around them."""
    error = failure.explain_exit(1, f"{TRACEBACK}\n{words}\nRuntimeError: engine failed", while_doing="loading")
    assert isinstance(error, errors.ArchitectureUnknown)
    assert str(error) == f"does not know the architecture: {words.strip()}"


def test_a_class_whose_module_could_not_be_read_is_not_absent() -> None:
    """SGLang says of both that there is no implementation; the line that tells them apart may stand far before."""
    ignored = "[2026-11-26 21:44:30] Ignore import error when loading sglang.srt.models.{}: {}"
    why = "'sgl_kernel' object has no attribute 'x'"
    words = "ValueError: {} has no SGlang implementation and the Transformers implementation is not compatible"

    def error(module: str, name: str, why: str = why) -> errors.ReadinessError:
        log = [ignored.format(module, why), *["loading"] * failure.LOG_TAIL_LINES, TRACEBACK, words.format(name)]
        return failure.explain_exit(1, "\n".join(log), while_doing="loading")

    assert isinstance(error("mamba", "BambaForCausalLM"), errors.ArchitectureUnknown)
    for module, name in (("mamba", "MambaForCausalLM"), ("qwen3_5_text", "Qwen3_5MoeForCausalLM")):
        unread = error(module, name)
        assert failure.status_of(unread) is Status.ERROR
        excuse = failure.excused(unread, sglang.ENGINE.lacking_on_cpu)
        assert failure.status_of(excuse) is Status.SKIP
        assert f"models.{module}: {why}" in str(excuse)
    unexcused = failure.excused(error("mamba", "MambaForCausalLM", "No module named 'x'"), sglang.ENGINE.lacking_on_cpu)
    assert failure.status_of(unexcused) is Status.ERROR


def test_an_architecture_that_an_engine_only_warned_of_is_not_unknown_to_it() -> None:
    """It went on after the warning, and died of something else."""
    warned = "WARNING:hf-to-gguf:… model type `new` but Transformers does not recognize this architecture.\n"
    error = failure.explain_exit(1, f"{warned}{TRACEBACK}", while_doing="converting")
    assert isinstance(error, errors.EngineCrashed)


@pytest.mark.parametrize(
    ("engine", "line", "reason"),
    [
        # With all that stands before the words in that engine's log, and without it.
        (
            vllm.ENGINE,
            "(Worker pid=71) ERROR 11-26 18:19:57 [worker.py:9] NotImplementedError: MLA is not supported on CPU.",
            "NotImplementedError: MLA is not supported on CPU.",
        ),
        (vllm.ENGINE, "AssertionError: CPU GDN attention requires BF16.", None),
        (vllm.ENGINE, "NotImplementedError: \"causal_conv1d_fwd_kernel_impl\" not implemented for 'Float'", None),
        (vllm.ENGINE, "RuntimeError: CPU fused-MoE AMX grouped-gemm kernel cannot be used for a layer with", None),
        (vllm.ENGINE, "AttributeError: module 'triton' has no attribute 'next_power_of_2'", None),
        (sglang.ENGINE, "ModuleNotFoundError: No module named 'sgl_kernel.mamba'", None),
        (sglang.ENGINE, "[2026-11-26 18:19:57] AssertionError: only supports fa4 attention backend, got torch_native",
         "AssertionError: only supports fa4 attention backend, got torch_native"),
    ],
)  # fmt: skip
def test_an_engine_whose_build_for_this_device_lacks_something_is_not_to_blame(
    engine: Engine, line: str, reason: str | None
) -> None:
    """Its words are the reason of a SKIP, without what stands before them in a log."""
    crash = failure.explain_exit(1, f"{TRACEBACK}\n{line}\nRuntimeError: see root cause above", while_doing="loading")
    assert failure.status_of(crash) is Status.CRASH
    error = failure.excused(crash, engine.lacking_on_cpu)
    assert failure.status_of(error) is Status.SKIP
    assert str(error) == (reason or line)
    assert error.__notes__ == crash.__notes__


def test_what_an_engine_went_on_after_excuses_nothing() -> None:
    """SGLang reads modules of all models, and goes on without those that it cannot read."""
    ignored = "Ignore import error when loading one.py: No module named 'sgl_kernel.mamba'"
    crash = failure.explain_exit(1, f"{ignored}\n{TRACEBACK}", while_doing="loading")
    assert failure.excused(crash, sglang.ENGINE.lacking_on_cpu) is crash
    crash = failure.explain_exit(1, f"{ignored.replace('sgl_kernel.mamba', 'torchaudio')}\n{TRACEBACK}", while_doing="")
    assert isinstance(crash, errors.EngineCrashed)


def test_of_a_trace_the_cause_is_quoted() -> None:
    """Engines end with lines about an error that stands further up."""
    log = """
(Worker pid=71) ERROR 11-26 18:19:57 [worker.py:9] Traceback (most recent call last):
(Worker pid=71) ERROR 11-26 18:19:57 [worker.py:9]   File "muse.py", line 762, in __init__
(Worker pid=71) ERROR 11-26 18:19:57 [worker.py:9] ValueError: dimensions do not match
(EngineCore pid=70) ERROR 11-26 18:19:58 [core.py:9]   File "core.py", line 1, in run
    raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above.
"""
    assert failure.own_words(log) == "ValueError: dimensions do not match"


def test_a_death_carries_its_log() -> None:
    """The last lines of the log are a note of the error."""
    log = "\n".join(f"line {i}" for i in range(200))
    (note,) = failure.explain_exit(1, log, while_doing="loading").__notes__
    assert note.splitlines() == [f"line {i}" for i in range(40, 200)]


def test_an_empty_log_is_said_to_be_empty() -> None:
    """No evidence is said, not shown as an empty note."""
    assert failure.explain_exit(1, "", while_doing="loading").__notes__ == ["(the log is empty)"]


def test_the_last_words_are_quoted() -> None:
    """Of several errors the last is quoted, never the headline of a traceback."""
    assert failure.own_words(f"KeyError: 'first'\n{TRACEBACK}\nshutting down") == "ValueError: bad shape"


def test_a_signal_is_named() -> None:
    """A signal has its name in the sentence, and its number where it has none."""
    assert str(failure.explain_exit(-11, "", while_doing="serving")) == "ended by SIGSEGV while serving"
    assert str(failure.explain_exit(-60, "", while_doing="serving")).startswith("ended by signal 60 while serving")


def test_gathering_evidence_never_raises(tmp_path: Path) -> None:
    """A log that is not there, or is not text, is described and never masks the error under way."""
    assert failure.read_log(tmp_path / "none").startswith("(the log cannot be read: ")
    (tmp_path / "log").write_bytes(b"\xff\xfe broken\nlast")
    assert failure.read_log(tmp_path / "log", lines=1) == "last"


def test_a_log_that_is_kept_has_no_secrets_and_every_other_byte(tmp_path: Path) -> None:
    """Wherever it lies in a log of many megabytes, and whatever else is in it."""
    token = b"hf_" + b"Ab1" * 12
    filling = b"\xff\x00 progress \r" * 400_000 + b"\n"
    log = tmp_path / "server.log"
    log.write_bytes(b"start " + token + b"\n" + filling + b"Bearer " + token + filling)
    failure.redact_log(log)
    assert log.read_bytes() == b"start [redacted]\n" + filling + b"Bearer [redacted]" + filling
    failure.redact_log(log)
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_our_own_exceptions_are_called_ours() -> None:
    """An exception of the harness says so; a readiness error speaks for itself, with its notes as evidence."""
    assert failure.describe(ValueError("x")) == ("the harness failed: ValueError: x", {})
    assert failure.describe(asyncio.CancelledError())[0].startswith("the harness gave up waiting")
    error = errors.EngineCrashed("it broke")
    error.add_note("the log")
    assert failure.describe(error) == ("it broke", {"log tail": "the log"})


SHIM = """Traceback (most recent call last):
  File "/readiness/runners/shims/llama_server/serve.py", line 69, in <module>
    main()
  File "/readiness/runners/shims/llama_server/serve.py", line 47, in params_of
    params.hostnames = [words.host]
    ^^^^^^^^^^^^^^^^
"""


@pytest.mark.parametrize(
    ("log", "status"),
    [
        (SHIM + "AttributeError: 'CommonParams' object has no attribute 'hostnames'", Status.ERROR),
        (SHIM + "RuntimeError: failed to load the model", Status.CRASH),
        (
            SHIM + '  File "/env/mlx_lm/models/llama.py", line 5, in load\n    it.gone\nAttributeError: no gone',
            Status.CRASH,
        ),
    ],
    ids=["ours", "the engine's, in C++", "the engine's, in Python"],
)
def test_a_shim_that_does_not_fit_a_release_is_ours(log: str, status: Status) -> None:
    """What an engine raises ends in a line of its own, or is no error of a name or a type."""
    error = failure.explain_exit(1, log, while_doing="loading")
    assert failure.status_of(error) is status
    assert (str(error) == "exited with code 1 while loading: our shim does not fit this release") == (
        status is Status.ERROR
    )
