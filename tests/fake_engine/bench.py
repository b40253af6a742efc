"""What a probe needs besides the fake engine: a cell, a reference that is the same tiny model, and a launch."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import numpy as np
import psutil
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from matrix.cells import Cell, Config, Device, FolderSource, Model, Release, Shape, Workload
from matrix.results import Table, Verdict
from probes.chat.conversations import Conversation
from probes.chat.renders import Rendered, Renders
from probes.probe import Bench, Probe
from probes.reference.stage import TOP_K, Coverage, Reference
from probes.stopwatch import Stopwatch
from runners import failure, venv
from runners.engine import Engine, Environment, Launch, Server
from runners.models import Checkpoint
from tests.fake_engine import adapter, chat, pocket

MARK = "FAKE_ENGINE_MARK"
"""Environment variable by which a test finds its own engine's processes among everybody's."""

READY_S = 20.0
"""Deadline of launches that are meant to succeed, on a busy machine."""

REPLICATES = ("batched", "cached", "chunked", "padded", "split")

WORKLOAD = Workload(
    corpus_sequences=16,
    corpus_length=64,
    decode_sequences=16,
    decode_prompt_length=16,
    decode_tokens=48,
    speed_repeats=2,
    shapes=(
        Shape(id="D1", prompt_tokens=8, output_tokens=8),
        Shape(id="D16", concurrency=2, prompt_tokens=8, output_tokens=8),
        Shape(id="M", turns=3, prompt_tokens=8, output_tokens=2),
    ),
)

CELL = Cell(
    release=Release(engine="fake", version="0.0.1", channel="stable", build="official"),
    model=Model(
        id="pocket",
        source=FolderSource(path="pocket"),
        architecture="Pocket",
        dtype="bfloat16",
        context_length=512,
    ),
    device=Device(id="cpu", kind="cpu", accelerators=0, workload=WORKLOAD, canary_tolerance=10.0, speed_judged=False),
    config=Config(id="default", description="what users run", speed_counts=True),
)

ENVIRONMENT = Environment(folder=Path(sys.prefix), python=Path(sys.executable), requirements_sha256="0" * 64)


class StandIn(Reference, frozen=True, kw_only=True):
    """The tiny model in the reference's place: exact, and with noisy replicates under their own seeds."""

    covered: Coverage
    """What is said of the checkpoint."""

    def corpus(self, first: int = 0, count: int | None = None) -> Table:
        return _corpus(first, count or self.workload.corpus_sequences, self.workload.corpus_length)

    def ladder(self, corpus: Table) -> Table:
        return {"token_ids": corpus["token_ids"][:8]}

    def score(self, token_ids: Sequence[Sequence[int]], prompt_lengths: Sequence[int]) -> Table:
        return arrays(token_ids, prompt_lengths)

    def alone(self, token_ids: Sequence[Sequence[int]]) -> Table:
        return arrays(token_ids, [1] * len(token_ids))

    def coverage(self) -> Coverage:
        return self.covered

    def renders(self, conversations: Sequence[Conversation]) -> Renders:
        return renders(conversations)

    def tokenizer(self) -> Tokenizer:
        return tokenizer()


COVERAGE = Coverage(
    tensors=12, missing=(), unexpected=(), mismatched=(),
    rows=pocket.VOCABULARY, largest_id=pocket.VOCABULARY - 1, largest_special_id=pocket.EOS,
)  # fmt: skip
"""A checkpoint that is as it should be."""


def bench(workload: Workload = WORKLOAD, covered: Coverage = COVERAGE) -> Bench:
    """A bench with the stand-in on it, for a checkpoint that is nowhere on disk."""
    watch = Stopwatch()
    nowhere = Checkpoint(folder=Path("pocket"), digest="0" * 40)
    stand_in = StandIn(checkpoint=nowhere, environment=ENVIRONMENT, workload=workload, watch=watch, covered=covered)
    return Bench(reference=stand_in, watch=watch)


def renders(conversations: Sequence[Conversation]) -> Renders:
    """What the fake engine's template makes of conversations, by the engine's own code where it is told nothing."""
    of_engine = chat.Chat({}, None)
    found = []
    for asked in conversations:
        given = {} if asked.thinking is None else {"chat_template_kwargs": {"enable_thinking": asked.thinking}}
        ask = {"messages": list(asked.messages), "tools": list(asked.tools), **given}
        found.append((Rendered(text=of_engine.text(ask), ids=tuple(of_engine.prompt_ids(ask))),))
    return Renders(templated=True, bos=chat.BOS_ID, stops=(pocket.EOS,), rendered=tuple(found))


@functools.cache
def tokenizer() -> Tokenizer:
    """One word an id, separated by spaces: every text gives its ids back."""
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(pocket.WORDS)}, unk_token=pocket.WORDS[-1]))
    made.pre_tokenizer = Whitespace()  # type: ignore[assignment,unused-ignore]  # the stub wants its base class
    made.add_special_tokens([AddedToken(pocket.WORDS[pocket.EOS], special=True)])
    return made


@functools.cache
def _corpus(first: int, count: int, length: int) -> Table:
    numbers = range(first, first + count)
    return arrays([pocket.sample(np.random.default_rng(number), length) for number in numbers], [1] * count)


def arrays(sequences: Sequence[Sequence[int]], prompt_lengths: Sequence[int]) -> Table:
    """The reference's and its replicates' arrays under the names that probes/reference/program writes."""
    lengths = [len(ids) for ids in sequences]
    token_ids = np.full((len(sequences), max(lengths)), -1, np.int32)
    for row, ids in enumerate(sequences):
        token_ids[row, : len(ids)] = ids
    table: Table = {
        "token_ids": token_ids,
        "lengths": np.array(lengths, np.int32),
        "prompt_lengths": np.array(prompt_lengths, np.int32),
        "domain": np.array(["given"] * len(sequences)),
        "metadata": np.array("{}"),
    }
    for seed, name in enumerate(("reference", *REPLICATES)):
        table |= {f"{name}/{key}": array for key, array in _sheet(sequences, seed or None).items()}
    return table


def _sheet(sequences: Sequence[Sequence[int]], seed: int | None) -> Table:
    shape = (len(sequences), max(map(len, sequences)) - 1)
    sheet: Table = {
        "target_logprobs": np.full(shape, np.nan, np.float32),
        "logsumexp": np.full(shape, np.nan, np.float32),
        "top_ids": np.full((*shape, TOP_K), -1, np.int32),
        "top_logprobs": np.full((*shape, TOP_K), np.nan, np.float32),
    }
    for row, ids in enumerate(sequences):
        columns = np.arange(len(ids) - 1)
        logprobs = pocket.logprobs(ids, seed=seed)[:-1]
        best = np.argsort(-logprobs, axis=1)[:, :TOP_K]
        sheet["target_logprobs"][row, columns] = logprobs[columns, ids[1:]]
        sheet["logsumexp"][row, columns] = 0.0
        sheet["top_ids"][row, columns] = best
        sheet["top_logprobs"][row, columns] = np.take_along_axis(logprobs, best, axis=1)
    return sheet


def spec(cell: Cell = CELL, *, deadline_s: float = READY_S) -> Launch:
    """A launch on a free port with the interpreter that runs the tests."""
    return Launch(
        cell=cell,
        environment=ENVIRONMENT,
        model_path=Path("pocket"),
        port=venv.free_port(),
        shims=adapter.PROGRAM.parent,
        deadline_s=deadline_s,
    )


def launched(
    engine: Engine, folder: Path, *, deadline_s: float = READY_S, cell: Cell = CELL
) -> AbstractContextManager[Server]:
    """The engine started by the real launcher, its log in `folder`."""
    return venv.launch(engine, spec(cell, deadline_s=deadline_s), folder / "engine.log")


def verdict_of(
    probe: Probe,
    engine: Engine,
    folder: Path,
    *,
    deadline_s: float = READY_S,
    cell: Cell = CELL,
    on: Bench | None = None,
) -> Verdict:
    """Launch, measure and judge as a run does, with every exception turned into a status by the one function."""
    try:
        with launched(engine, folder, deadline_s=deadline_s, cell=cell) as server:
            measurement = probe.measure(server, cell, on or bench(cell.device.workload))
    except Exception as error:
        reason, evidence = failure.describe(error)
        return Verdict(status=failure.status_of(error), reason=reason, evidence=evidence)
    return probe.judge(measurement, cell)


def with_workload(**changes: int | tuple[Shape, ...]) -> Cell:
    """The cell with another workload."""
    workload = msgspec.structs.replace(WORKLOAD, **changes)
    return msgspec.structs.replace(CELL, device=msgspec.structs.replace(CELL.device, workload=workload))


def heed_interrupts() -> None:
    """For a process under test: tests may themselves run in the background, where SIGINT is ignored and inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def engines(mark: str) -> list[psutil.Process]:
    """Living engines whose environment carries this mark."""
    return marked(mark, adapter.PROGRAM.name)


def marked(mark: str, program: str = "") -> list[psutil.Process]:
    """Living processes whose environment carries this mark and whose command names this program."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(MARK) == mark and program in " ".join(process.cmdline())
        except (psutil.Error, OSError):
            continue  # another user's, a zombie, or gone meanwhile
        if ours and process.pid != os.getpid():
            found.append(process)
    return found
