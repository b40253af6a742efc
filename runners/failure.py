"""Who is to blame: how a death is read, and how every exception becomes one status.

The table is DESIGN's. Whatever is not positively recognised as the engine's fault is `ERROR`, ours.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

from matrix import untrusted
from matrix.errors import (
    ARCHITECTURE_UNKNOWN,
    ArchitectureUnknown,
    EngineBrokeProtocol,
    EngineCrashed,
    EngineTimedOut,
    Infrastructure,
    ModuleUnread,
    NeedsNetwork,
    NotSupported,
    PrerequisiteNotMet,
    ReadinessError,
    WrongInput,
)
from matrix.results import Status
from runners.engine import OutOfMemory

LOG_TAIL_LINES = 160
"""vLLM's cause stands 119 lines before the end: what its processes say of each other's end comes after it."""
LOG_READ_BYTES = 2**22

ENGINES_OWN_WORDS = re.compile(
    r"Traceback \(most recent call last\)|\b\w*(?:Error|Exception)\b[:(]|\berror: |\bERROR\b|\bFATAL\b|\bCRITICAL\b"
    r"|[Aa]ssert(?:ion)?\b.*fail|GGML_ASSERT|terminate called|[Ss]egmentation fault|core dumped|Received sigquit"
    r"|^assert \S",
)
"""A line in which the engine itself says that something went wrong."""

OUR_SHIM = re.compile(
    r'^ *File "[^"\n]*/shims/[^"\n]*", line \d+, in .*\n(?:(?! *File ")(?!\w+Error).*\n)*'
    r"(?:AttributeError|ImportError|ModuleNotFoundError|NameError|TypeError): ",
    re.M,
)
"""An error of a program that does not fit another, raised in a line of ours: what an engine raises ends in its own."""

OUR_COMMAND = re.compile(
    r"^(?:(?:Error: |│ )(?:Got unexpected extra argument|No such option)"
    r"|.*: error: (?:unrecognized arguments|ambiguous option|argument -))",
    re.M,
)
"""As the libraries by which programs read their command line refuse one."""

OUR_DOING = (
    (OUR_SHIM, "our shim does not fit this release"),
    (OUR_COMMAND, "our command line does not fit this release"),
    (re.compile(r"No space left on device"), "the disk is full"),
    (re.compile(r"[Aa]ddress already in use|couldn't bind HTTP server socket"), "the port is taken"),
    (re.compile(r"Cannot allocate memory|std::bad_alloc|^MemoryError", re.M), "the host is out of memory"),
    (re.compile(r"CUDA driver version is insufficient|driver/library version mismatch"), "driver mismatch"),
    (re.compile(r"Illegal instruction"), "the build needs instructions that this processor lacks"),
    (re.compile(r"fatal error: Python\.h|InvalidCxxCompiler"), "its environment lacks a compiler or Python's headers"),
    (
        # Raised, or the end of the module of the class that was asked for: what is merely told of, it goes on without.
        re.compile(r"(?:ModuleNotFoundError|models\.\w+): No module named 'torch(?:vision|audio|codec)'"),
        "its environment lacks a package for other media",
    ),
    (
        re.compile(r"Can't load (?:image processor|feature extractor)|file named (?:pre)?processor_config\.json"),
        "the checkpoint lacks the processors of its other media",
    ),
    (re.compile(r"401 Client Error|403 Client Error|GatedRepoError"), "the hub refuses: accept the licence"),
)
"""Words in a log that put the blame on us or on the machine, and the sentence for each."""

UNKNOWN_ARCHITECTURE = re.compile(
    r"Model architectures \[.*\] are not supported for now|was supported in vLLM until v"
    r"|has no SGlang implementation and the Transformers implementation is not compatible"
    r"|unknown model architecture: '|Architecture '?\w+'? not supported!|Model (?:type )?\w+ (?:is )?not supported\.?$"
    r"|but Transformers does not recognize this architecture|and vLLM has no other way to handle it",
    re.I | re.M,
)
"""Engines' own words for an architecture that they do not know."""
IGNORED_IMPORT = re.compile(r"^.*Ignore import error when loading (?:[\w.]+\.)?(\w+):.*$", re.M)
"""SGLang reads the modules of all models, and goes on without those that it cannot read."""
NO_CLASS = re.compile(r"(\w+) has no SGlang implementation")
WARNING_LINE = re.compile(r"^.*\bWARNING\b.*$", re.M)
"""What an engine warns of it has survived: llama.cpp's converter goes on without transformers' configuration."""

SAYS_LITTLE = re.compile(
    r"\(most recent call last\):$|^File \"|^raise \w|[Rr]oot cause above|[Ss]ee stack trace|for the root cause"
    r"|Received sigquit from a child|500 Internal Server Error"
)
"""Lines about an error that stands elsewhere in the log."""
LOG_PREFIX = re.compile(r"^(?:\([^)]*\) )?(?:ERROR (?=\d))?(?:\[?[\d :.-]+\]? )?(?:\[[\w.]+:\d+\] )?\s*")
"""What stands before the words in a line of an engine's log: process, level, time and place."""

NETWORK_WANTED = re.compile(
    r"OfflineModeIsEnabled|LocalEntryNotFoundError|Temporary failure in name resolution|Failed to resolve '"
    r"|Name or service not known|Network is unreachable"
)

FAULT_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE})
"""Signals by which a program's own fault ends it."""


def status_of(error: BaseException) -> Status:
    """The one place where an exception becomes a status; KeyboardInterrupt never gets here."""
    match error:
        case EngineCrashed():
            return Status.CRASH
        case EngineTimedOut():
            return Status.TIMEOUT
        case EngineBrokeProtocol() | ArchitectureUnknown():
            return Status.FAIL
        case PrerequisiteNotMet():
            return Status.NOTRUN
        case NotSupported():
            return Status.SKIP
        case NeedsNetwork() | Infrastructure() | WrongInput():
            return Status.ERROR
        case _:
            return Status.ERROR


def explain_exit(
    exit_code: int, log: str, *, while_doing: str, out_of_memory: OutOfMemory | None = None
) -> ReadinessError:
    """The error for an engine that ended by itself (`exit_code` < 0: by that signal), with its log as evidence."""
    what = f"{_how(exit_code)} while {while_doing}"
    error = _blame(exit_code, log, what) if out_of_memory is None else _blame_memory(out_of_memory, what)
    tail = "\n".join(log.splitlines()[-LOG_TAIL_LINES:])
    error.add_note(tail or "(the log is empty)")
    return error


def _blame_memory(found: OutOfMemory, what: str) -> ReadinessError:
    limit, needed = (f"{size / 2**30:.1f} GiB" for size in (found.limit_bytes, found.needed_bytes))
    if found.limit_bytes < found.needed_bytes:
        return Infrastructure(f"{what}: out of memory under our limit of {limit}, below the {needed} that it needs")
    return EngineCrashed(f"{what}: out of memory under a limit of {limit}: it needs more than the {needed} computed")


def _blame(exit_code: int, log: str, what: str) -> ReadinessError:
    log = _without_other_models(log)
    for pattern, sentence in OUR_DOING:
        if pattern.search(log):
            return Infrastructure(f"{what}: {sentence}")
    if exit_code == -signal.SIGILL:
        return Infrastructure(f"{what}: the build needs instructions that this processor lacks")
    if -exit_code in FAULT_SIGNALS:
        return EngineCrashed(f"{what}{_quote(log)}")
    if exit_code == -signal.SIGKILL and not ENGINES_OWN_WORDS.search(log):
        return Infrastructure(f"{what} without a word of its own: out of memory on the host, or killed from outside")
    fatal = WARNING_LINE.sub("", log)
    if IGNORED_IMPORT.search(fatal):
        return ModuleUnread(f"{what}: {_line_of(IGNORED_IMPORT, fatal)}")
    if UNKNOWN_ARCHITECTURE.search(fatal):
        return ArchitectureUnknown(f"{ARCHITECTURE_UNKNOWN}: {_line_of(UNKNOWN_ARCHITECTURE, fatal)}")
    if NETWORK_WANTED.search(log):
        return NeedsNetwork(f"{what}: it needs the network at run time though its model is local")
    if ENGINES_OWN_WORDS.search(log):
        return EngineCrashed(f"{what}{_quote(log)}")
    return Infrastructure(f"{what} without a word of its own, so nothing shows that the engine is to blame")


def excused(error: BaseException, lacking: re.Pattern[str] | None) -> BaseException:
    """The error, or in place of a crash or an unread module a refusal of the device, where `lacking` is in the log.

    `lacking` matches whole lines of a log, by which an engine ends where its build for this device lacks what a model
    needs; it says nothing of the model on other devices.
    """
    if lacking is None or not isinstance(error, EngineCrashed | ModuleUnread):
        return error
    notes = getattr(error, "__notes__", [])
    # The error's own words may quote a line that stands far before the end of the log.
    fatal = WARNING_LINE.sub("", "\n".join((_without_other_models("\n".join(notes)), str(error))))
    if not lacking.search(fatal):
        return error
    excuse = NotSupported(_line_of(lacking, fatal))
    for note in notes:
        excuse.add_note(note)
    return excuse


def _without_other_models(log: str) -> str:
    """The log without what it says of modules that are not those of the class which was asked for.

    A module is taken for a class's own by how both names begin, which errs towards not saying that the class is absent.
    """
    asked = [_squeezed(name) for name in NO_CLASS.findall(log)]

    def kept(found: re.Match[str]) -> str:
        module = _squeezed(found[1].removesuffix("_text"))
        return found[0] if any(name.startswith(module) for name in asked) else ""

    return IGNORED_IMPORT.sub(kept, log)


def _squeezed(name: str) -> str:
    return name.replace("_", "").lower()


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        return f"ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"ended by signal {-exit_code}"


def _quote(log: str) -> str:
    words = own_words(log)
    return f": {words}" if words else ""


def _line_of(pattern: re.Pattern[str], log: str) -> str:
    line = next(line for line in log.splitlines() if pattern.search(line))
    return LOG_PREFIX.sub("", line.strip())[:300]


def own_words(log: str) -> str:
    """The last line in which the engine says what went wrong, cut to a readable length."""
    bare = [LOG_PREFIX.sub("", line.strip()) for line in log.splitlines()]
    lines = [line for line in bare if ENGINES_OWN_WORDS.search(line)]
    lines = [line for line in lines if not SAYS_LITTLE.search(line)] or lines
    return lines[-1][:300] if lines else ""


def read_log(path: Path, lines: int = 2000) -> str:
    """The end of an engine's log; never raises, because it gathers evidence while an error is under way."""
    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, LOG_READ_BYTES), os.SEEK_END)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(the log cannot be read: {error})"


def redact_log(path: Path) -> None:
    """Take out of a log that nobody writes any more what looks like a secret, a bounded piece at a time."""
    redacted = path.with_suffix(".redacted")
    changed = False
    with path.open("rb") as log, redacted.open("wb") as file:
        while piece := log.read(LOG_READ_BYTES) + log.readline(LOG_READ_BYTES):
            plain = untrusted.redacted(text := piece.decode(errors="surrogateescape"))
            changed |= plain != text
            file.write(plain.encode(errors="surrogateescape"))
    if changed:
        redacted.replace(path)
    else:
        redacted.unlink()


def describe(error: BaseException) -> tuple[str, dict[str, str]]:
    """One sentence and the evidence of an exception, for a verdict."""
    notes = "\n".join(getattr(error, "__notes__", []))
    text = str(error) or type(error).__name__
    if not isinstance(error, ReadinessError):
        text = f"the harness failed: {type(error).__name__}: {error}"
    if isinstance(error, TimeoutError | asyncio.CancelledError):
        text = f"the harness gave up waiting: {error!r}"
    return text, ({"log tail": notes} if notes else {})
