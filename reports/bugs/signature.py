"""When two failures are the same one: an id that outlives nights, machines, releases and numbers. Pure.

What the engine itself says when it ends, or breaks its protocol, names its cause: such words are one failure whatever
the model and the device, for one line of code serves many of them. What the layers beneath it say, torch or Python,
tells what did not fit and not where; the place in the engine's code that its traceback ends in is a part of it then.
What a probe has found is a symptom, and so are a timeout, an end without words, words that end before they say of
what, and what a device reports some time after it happened: thousands of faults make logprobs wrong from the first
position on. Symptoms are one failure only within a family of architectures, by whose code they come about, and a kind
of device, whose kernels they run on; a fault that shows in two families counts twice, until somebody finds that it is
one. Only the chat routes are the same code for all models. An architecture that is not known is a failure by itself:
each is to be added. The release counts nowhere: a fault that outlives a release is the same fault.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from matrix.cells import Cell, HubSource, Record
from matrix.errors import ARCHITECTURE_UNKNOWN
from matrix.results import Result, Status, Verdict
from reports import levels
from reports.bugs import pattern
from reports.bugs.pattern import Pattern

FOR_ALL_MODELS = ("protocol",)
"""Probes of what is the same code for every architecture."""

LENGTH = 200
"""Characters by which words are known: a quoted line is cut somewhere, sooner where paths in it are longer."""

HOW_IT_ENDED = re.compile(r"(?:exited with code|ended by) [\w ]+? while [\w ]+")
OURS = re.compile(r"out of memory under a limit")
"""Begins what is said of such an end in our words."""

AFTERWARDS = re.compile(r"\b(?:CUDA|HIP|NCCL|cuBLAS|cuDNN) error|device-side assert|out of memory|OutOfMemoryError")
"""What a device reports when its queue is looked at next, wherever that is."""
BENEATH = re.compile(
    r"[Tt]he (?:expanded )?size of (?:the )?tensor|shape '\[|mat1 and mat2|m1 and m2|expected scalar type|not broadcast"
    r"|all tensors to be on the same device|should be the same|out of range|out of bounds|[Dd]imension out"
    r"|out of resource|unsupported operand type|'NoneType' object|object is not (?:subscriptable|iterable|callable)"
    r"|values to unpack"
)
"""What torch, Triton and Python say wherever two things do not fit."""
LOG_TAIL = "log tail"
"""The evidence that a traceback stands in."""
FRAME = re.compile(r"File \"(?P<file>[^\"<][^\"]*)\", line \d+, in (?P<function>[\w.<>]+)")
NOT_THE_ENGINES = re.compile(r"site-packages/torch/|/lib/python[\d.]+/(?!(?:site|dist)-packages/)|dist-packages/torch/")

HEAD = re.compile(r"(?:Text)?(?:For[A-Z]\w*|LMHeadModel|Model)$")
"""The end of an architecture's name, which says what it is used for."""
EXPERTS = re.compile(r"_?Mo[eE]$")

LOCATION = re.compile(r"^PATH:N:? ")
"""Begins what a C++ assertion says; the file has other names in other builds."""
ADVICE = re.compile(r"[.,;]? Did you mean: '[^']*'\?$")
"""Ends what Python says of a name, in some of its versions."""

VOLATILE = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+"), "URL"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"), "TIME"),
    (re.compile(r"(?<![\w.])~?(?:/+[\w.+@-]+)+/*"), "PATH"),
    (re.compile(r"(?<![\w/.])(?:[\w.+@-]+/)+[\w.+@-]+\.(?:c|cc|cpp|cu|cuh|h|hpp|m|metal|py|rs)\b"), "PATH"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "HEX"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "HEX"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b"), "HEX"),
    (re.compile(r"\btmp(?=\w*[\d_])\w{5,}"), "TMP"),
    (re.compile(r"(?i)(?<![a-z])((?:rank|worker|tp|pp|dp|ep|gpu|core|slot|thread|stream)[-_]?)\d+(?!\w)"), r"\1N"),
    (re.compile(r"(?<![\w.])v?\d+(?:\.\d+){2,}(?:[\w+-]|\.(?=\w))*"), "N"),
    (re.compile(r"\b\d+(?:[x×]\d+)+\b"), "N"),
    (re.compile(r"(?<!\w)[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), "N"),
    (re.compile(r"\bN ?[kKMGT]i?B\b"), "N bytes"),
    (re.compile(r"\bN,(?= ?[)\]])"), "N"),
    (re.compile(r"\bN(?:\s*[x×,]\s*N)+\b"), "N"),
)
"""What is taken out of an error's words, in this order, and what stands for it."""


class Signature(Record, frozen=True, kw_only=True):
    """By what a failing result is known."""

    engine: str
    probe: str
    kind: str
    """`crash`, `timeout`, `unknown` (the architecture), `wrong` (by its pattern), `slow`, or `status`."""
    within: tuple[str, ...]
    """What results of one failure have in common besides: nothing, or the family of architectures and the device."""
    words: str
    """The normalised words, or the pattern in words."""
    pattern: Pattern | None = None

    @property
    def id(self) -> str:
        """`engine-probe-` and twelve hexadecimal digits."""
        digest = hashlib.sha256("\0".join((self.kind, *self.within, self.words)).encode())
        return f"{self.engine}-{self.probe}-{digest.hexdigest()[:12]}"


def signature(cell: Cell, probe: str, verdict: Verdict, *, judged: bool) -> Signature:
    """Of a verdict that blames an engine. `judged`: something was measured; False: asking itself broke."""
    kind, within, words, shape = _known_by(cell, probe, verdict, judged)
    engine = cell.release.engine
    return Signature(engine=engine, probe=probe, kind=kind, within=within, words=words, pattern=shape)


def failure_id(result: Result) -> str:
    """The id of a result's own signature; that of its failure is the one of its cluster's earliest member."""
    return of(result).id


def of(result: Result) -> Signature:
    """The signature of a result that blames an engine."""
    return signature(result.cell, result.probe, result.verdict, judged=result.measurement is not None)


def _known_by(
    cell: Cell, probe: str, verdict: Verdict, judged: bool
) -> tuple[str, tuple[str, ...], str, Pattern | None]:
    """Kind, what it is bound to, words, and the pattern."""
    architecture = cell.model.architecture
    symptom = (family(architecture), cell.device.kind)
    if verdict.status is Status.CRASH:
        words, named = _last_words(cell, verdict)
        return "crash", () if named else symptom, words, None
    if verdict.status is Status.TIMEOUT:
        return "timeout", symptom, _plain(verdict.reason, cell), None
    if verdict.reason.startswith(ARCHITECTURE_UNKNOWN):
        return "unknown", (architecture,), f"{ARCHITECTURE_UNKNOWN} {architecture}", None
    if levels.compared(verdict.numbers):
        return "slow", symptom, "slower than what it is compared with", None
    shape = pattern.pattern(verdict.reason, verdict.numbers, verdict.curves)
    if shape is not None:
        return "wrong", symptom, shape.words, shape
    everywhere = not judged or probe in FOR_ALL_MODELS
    return "status", () if everywhere else symptom, _plain(verdict.reason, cell), None


def _last_words(cell: Cell, verdict: Verdict) -> tuple[str, bool]:
    """What the engine said as it ended, and whether that names a cause."""
    own = _own_words(verdict.reason)
    if not own:
        return _plain(verdict.reason, cell), False
    words = _plain(own, cell)
    if own.endswith(":") or AFTERWARDS.search(own):
        return words, False
    if not BENEATH.search(own):
        return words, True
    where = place(own, verdict.evidence.get(LOG_TAIL, ""))
    return (f"{words} (in {where})", True) if where else (words, False)


def _own_words(reason: str) -> str:
    """What the engine said as it ended; empty where it said nothing."""
    ended = HOW_IT_ENDED.match(reason)
    words = reason[ended.end() :].removeprefix(": ") if ended else reason
    return "" if OURS.match(words) else words


def place(words: str, log: str) -> str:
    """File and function of the engine's own code in which the traceback before some words ends; empty without one."""
    before = log[: max(0, log.rfind(words))]
    frames = [frame for frame in FRAME.finditer(before) if not NOT_THE_ENGINES.search(frame["file"])]
    return f"{'/'.join(frames[-1]['file'].split('/')[-2:])}: {frames[-1]['function']}" if frames else ""


def family(architecture: str) -> str:
    """An architecture's name without what it is used for, and without its experts.

    A model's text part is computed by the same code alone, and a mixture of experts shares all else with a dense model.
    """
    return EXPERTS.sub("", _stem(architecture))


def _stem(architecture: str) -> str:
    return HEAD.sub("", architecture) or architecture


def _plain(text: str, cell: Cell) -> str:
    repo = cell.model.source.repo if isinstance(cell.model.source, HubSource) else ""
    plain = normalised(_without_names(text, cell.model.id, repo, cell.model.architecture))
    return ADVICE.sub("", LOCATION.sub("", plain))[:LENGTH]


@lru_cache(maxsize=10_000)
def normalised(text: str) -> str:
    """An error's words without what changes from run to run; doing it twice changes nothing more."""
    plain = text
    for volatile, stand_in in VOLATILE:
        plain = volatile.sub(stand_in, plain)
    # What stands for something may end what has only now become something: each pass leaves less to take out.
    return plain.strip() if plain.strip() == text else normalised(plain.strip())


@lru_cache(maxsize=10_000)
def _without_names(text: str, model: str, repo: str, architecture: str) -> str:
    """The model's own names replaced, so that it does not matter which model it was; classes named after it too.

    Its family in lower case is replaced in quotes alone: engines are named after some.
    """
    for name in filter(None, (repo, repo.rpartition("/")[2], model)):
        text = re.sub(rf"(?i)(?<![\w-]){re.escape(name)}(?![\w-])", "MODEL", text)
    text = re.sub(rf"\b{re.escape(architecture)}\b", "ARCHITECTURE", text)
    text = re.sub(rf"\b{re.escape(_stem(architecture))}(?=[A-Z]|\b)", "FAMILY", text)
    small = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_?", _stem(architecture)).lower()
    return re.sub(rf"(?<=['\"`]){small}(?=['\"`])", "FAMILY", text)
