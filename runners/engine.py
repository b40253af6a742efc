"""What an engine is to this project: data plus plain functions. One file in `runners/engines/` makes one `Engine`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from matrix.cells import Cell, Config, Record
from matrix.errors import EngineBrokeProtocol
from runners.chat import Chat
from runners.chat import Json as Json

READY_BASE_S = 600.0
READY_BYTES_PER_S = 20e6
"""A slow disk and a cold cache: the deadline grows by a second for every 20 MB of weights."""

SHIMS = Path(__file__).parent / "shims"
"""The folder of stand-ins."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"}

LISTED_SHOWN = 3
"""Ids of a list that fit into a sentence."""


class Environment(Record, frozen=True, kw_only=True):
    """An engine's own virtual environment."""

    folder: Path
    python: Path
    requirements_sha256: str


class Launch(Record, frozen=True, kw_only=True):
    """Everything an engine's file needs to say how its server is started."""

    cell: Cell
    environment: Environment
    model_path: Path
    """A Hugging Face folder, or the GGUF file, as `Engine.weights` says."""
    port: int
    shims: Path
    """The folder of stand-ins: an engine's own in `shims / <name>`, those that several need beside them."""
    label: str = ""
    """What the label of its processes begins with: the run's name."""
    accelerators: tuple[str, ...] = ()
    """The ids of the accelerators that it may see."""
    online: bool = False
    """True only in the second try of an engine that wanted the network."""
    compile_cache: Path | None = None
    """Where compiled kernels are kept between launches; None: with the environment they were compiled from."""
    deadline_s: float = READY_BASE_S
    """By when it must be ready; an engine's own patience is raised to it, or we would cause the crash."""

    def stand_ins(self, *names: str) -> str:
        """Those folders of stand-ins as a search path for Python."""
        return os.pathsep.join(str(self.shims / name) for name in names)

    @property
    def kernels(self) -> Path:
        """The folder of compiled kernels."""
        return self.compile_cache or self.environment.folder / "compile-cache"

    def published(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """A command as it is published: what differs from machine to machine gives way to a placeholder."""
        places = (
            (str(self.model_path), "MODEL"),
            (str(self.environment.python), "python"),
            (str(self.environment.folder), "ENVIRONMENT"),
            (str(self.shims), "SHIMS"),
        )
        shown = []
        for word in command:
            for found, name in places:
                word = word.replace(found, name)
            shown.append("PORT" if word == str(self.port) else word)
        return tuple(shown)


class Conversion(Record, frozen=True, kw_only=True):
    """What an engine's file needs to say how its own weights are made of a checkpoint."""

    environment: Environment
    checkpoint: Path
    target: Path
    dtype: str
    quantization: str | None = None
    """The type to which the weights are quantized then; None: they are not."""
    shims: Path
    """The folder of stand-ins."""


class Prompt(Record, frozen=True, kw_only=True):
    """A prompt both ways; an engine's dialect sends the one that it takes."""

    token_ids: tuple[int, ...]
    text: str


class Ask(Record, frozen=True, kw_only=True):
    """One request for generation, greedy unless it says otherwise."""

    model: str
    """The name that the server knows the model by."""
    prompt: Prompt
    max_tokens: int
    top_k: int = 0
    """Logprobs of this many likeliest ids per generated token; 0: none."""
    ignore_eos: bool = False
    stream: bool = False
    namespace: str = ""
    """What is cached of a prompt may be used again by requests of the same namespace, and by no others."""
    fresh: bool = False
    """The first of its namespace, where nothing cached may be used: for engines that know no namespaces."""
    temperature: float = 0.0
    seed: int = 0
    """Of a request that samples."""


class HttpRequest(Record, frozen=True, kw_only=True):
    """A POST that the client sends."""

    path: str
    body: dict[str, Any]


class Scores(Record, frozen=True, kw_only=True):
    """Logprobs of n given or generated tokens, most likely k ids listed per token (ragged lists are padded)."""

    target_logprobs: npt.NDArray[np.float64]
    """[n]"""
    top_ids: npt.NDArray[np.int64]
    """[n, k], -1 where nothing is listed."""
    top_logprobs: npt.NDArray[np.float64]
    """[n, k], NaN where nothing is listed."""


class Generation(Record, frozen=True, kw_only=True):
    """What came back for an `Ask`."""

    text: str
    token_ids: tuple[int, ...] | None
    """None where the engine does not say."""
    scores: Scores | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str | None
    cached_tokens: int | None = None
    """Of the prompt, taken from the cache; None where the engine does not say."""


class Chunk(Record, frozen=True, kw_only=True):
    """One event of a stream; counts are those of `usage`, for the whole answer so far."""

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    """New ids in this event."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finished: bool = False


class Engine(Record, frozen=True, kw_only=True):
    """Data and pure functions; the HTTP client that uses them lives in `probes/`."""

    name: str
    weights: Literal["huggingface", "gguf"]
    health_path: str
    prompts: Literal["token-ids", "text"]
    """What its generation route takes."""
    masks_ends: bool = False
    """Asked to go on for a fixed number of tokens, it never chooses one that ends; others choose it and go on."""
    command: Callable[[Launch], tuple[str, ...]]
    """Arguments after the environment's `python -P`."""
    generate: Callable[[Ask], HttpRequest]
    parse_generation: Callable[[Json], Generation]
    parse_chunk: Callable[[Json], Chunk]
    served_name: Callable[[Launch], str]
    version: Callable[[Callable[[str], Json]], str | None]
    """Given a function that GETs a path's JSON (raises LookupError where there is none): the version, or None
    where this server is another engine or does not say."""
    environment: Callable[[Launch], dict[str, str]] = lambda launch: {}
    score: Callable[[str, tuple[int, ...], int], HttpRequest] | None = None
    """(model name, token ids, top k) -> a teacher-forced scoring request; None where the engine cannot."""
    parse_scores: Callable[[Json, tuple[int, ...]], Scores] | None = None
    """The answer as rows: token i given the tokens before it, for i = 1 … n-1. Where answers carry ids, it checks with
    `check_targets` or `check_listed` that they are those asked for; that no row lacks, the client checks."""
    supports: Callable[[Cell], str | None] = lambda cell: None
    """Why this cell cannot run on this engine; None where it can."""
    lacking_on_cpu: re.Pattern[str] | None = None
    """Lines of the log that show, where it ended on a CPU, that the build for CPUs lacks what this model needs."""
    convert: Callable[[Conversion], tuple[str, ...]] | None = None
    """Arguments after `python` that make the engine's own weights."""
    foreign_converter: str | None = None
    """The converter's name where it is no part of the engine's releases: what it fails at is no fault of theirs."""
    quantizations: dict[str, str] = {}
    """Types to which its converter quantizes weights, and what its kernels round beside them: a family of replicates of
    the reference program."""
    formats: dict[str, str] = {}
    """Formats of quantized checkpoints that it loads (`runners/conversions/weight_formats.py`), and the same of its
    kernels on an accelerator; on a CPU they round as those for the config's dtype do."""
    dtype_of_weights: bool = False
    """It has no option for a dtype and computes in that of the weights; in float32 it is given them widened."""
    max_top_k: int = 20
    """The most logprobs per token that the server gives as it is launched here; 0: none, its answers are text alone."""
    cache_tokens: int | None = None
    """How many tokens of prompts its cache holds as it is launched on a CPU; None: more than can be asked for."""
    registry: Callable[[Environment], tuple[str, ...]] | None = None
    """The module of `runners/registries` that reads what a release claims to run, and what it reads besides what is
    installed; None: it cannot be read."""
    fell_back: re.Pattern[str] | None = None
    """The line of the log by which it says that it runs a model by transformers' classes."""
    caches_prefixes: bool = True
    """False where it computes every prompt anew, whatever the config says."""
    environment_report: tuple[str, ...] | None = None
    """Arguments after the environment's `python` by which it reports its environment, as its maintainers ask for it in
    a bug report; None: there is no such command."""
    chat: Chat | None = None
    """How its chat route is spoken to; None where there is none that is its own."""
    lineage: str = ""
    """Whose modelling code it runs; left out: its own, by its name. Engines that share code share a lineage, for they
    may share a mistake: only engines of different lineage, agreeing with each other, cast doubt on the reference, whose
    own lineage is `transformers`. Where an engine's log says that it fell back on transformers' code for a model, it
    counts as transformers there."""

    def __post_init__(self) -> None:
        if not self.lineage:
            msgspec.structs.force_setattr(self, "lineage", self.name)

    def makes(self, config: Config) -> str | None:
        """The type to which its own converter quantizes in a config."""
        return config.quantization if config.quantization in self.quantizations else None


def ready_deadline_s(model_bytes: int) -> float:
    """How long an engine may take to become ready; scales with the bytes it has to load."""
    return READY_BASE_S + model_bytes / READY_BYTES_PER_S


def scores_from_rows(rows: list[tuple[float | None, list[tuple[int, float]]]]) -> Scores:
    """Pad ragged rows of (target logprob, [(id, logprob), …]) into arrays; None becomes NaN.

    JSON has no infinities, so engines clamp or null them: the numbers are kept as they come and judged later.
    """
    width = max((len(listed) for _, listed in rows), default=0)
    targets = np.array([np.nan if target is None else float(target) for target, _ in rows], dtype=np.float64)
    ids = np.full((len(rows), width), -1, dtype=np.int64)
    logprobs = np.full((len(rows), width), np.nan, dtype=np.float64)
    for row, (_, listed) in enumerate(rows):
        for column, (token_id, logprob) in enumerate(listed):
            ids[row, column] = token_id
            logprobs[row, column] = np.nan if logprob is None else logprob
    return Scores(target_logprobs=targets, top_ids=ids, top_logprobs=logprobs)


def check_positions(asked: int, scored: int) -> None:
    """Raise EngineBrokeProtocol unless an answer scores as many positions as it was asked for."""
    if scored != asked:
        raise EngineBrokeProtocol(f"scores {scored} positions where {asked} were asked for")


def check_targets(asked: Sequence[int], scored: Sequence[int], *, first: int) -> None:
    """Raise EngineBrokeProtocol unless logprobs are of the ids asked for, which begin at position `first`."""
    check_positions(len(asked), len(scored))
    for position, (target, found) in enumerate(zip(asked, scored, strict=True), start=first):
        if found != target:
            raise EngineBrokeProtocol(f"its logprob at position {position} is of id {found}, not of id {target}")


def check_listed(target: int, listed: Collection[int], *, position: int) -> None:
    """Raise EngineBrokeProtocol unless the id asked for is among those that a position lists."""
    if target not in listed:
        ids = ", ".join(map(str, sorted(listed)[:LISTED_SHOWN]))
        more = f" and {len(listed) - LISTED_SHOWN} more" if len(listed) > LISTED_SHOWN else ""
        raise EngineBrokeProtocol(f"its logprobs at position {position} are of ids {ids}{more}, not of id {target}")


class OutOfMemory(Record, frozen=True, kw_only=True):
    """That the kernel ended something of an engine for want of memory, under a limit that we set."""

    limit_bytes: int
    needed_bytes: int
    """What we had computed to suffice."""


class Claim(Record, frozen=True, kw_only=True):
    """What a release's own registry says of one checkpoint."""

    kind: Literal["native", "fallback", "none"]
    """`native`: by code of its own; `fallback`: by transformers' classes."""
    name: str
    """The architecture, or the type of model, that was looked for."""

    @property
    def sentence(self) -> str:
        """In words."""
        how = {"native": "names", "fallback": "names, by transformers' own classes,", "none": "does not name"}
        return f"the release's registry {how[self.kind]} {self.name}"


BESIDE_DEADLINE_S = 120.0
"""For a program that runs beside an engine."""


class Server(Record, frozen=True, kw_only=True):
    """A running engine."""

    engine: Engine
    base_url: str
    model: str
    """The name to send as `model`."""
    model_path: Path
    engine_version: str | None
    startup_s: float
    log_path: Path | None
    """None for a server that somebody else started."""
    exit_code: Callable[[], int | None]
    """None while it runs (or where we cannot know); negative: ended by that signal. Raises Infrastructure where what
    it runs in is gone."""
    out_of_memory: Callable[[], OutOfMemory | None] = lambda: None
    """Asked once it has ended."""
    command: tuple[str, ...] = ()
    image_digest: str | None = None
    requirements_sha256: str | None = None
    needed_network: bool = False
    """True where it came up only when it was allowed online."""
    socket: Path | None = None
    """The Unix socket that leads to it, where `base_url` has no route from here."""
    claim: Claim | None = None
    """Whether its release claims to run the model; None where that could not be read."""
    beside: Callable[[Path, Sequence[str]], str] | None = None
    """Runs a standalone Python program with arguments in the engine's own environment and on its device, beside it,
    and gives what it printed; raises Infrastructure. None for a server that somebody else started."""
    headers: dict[str, str] = {}
    """To send with every request: what a stranger's server wants to know us by."""
