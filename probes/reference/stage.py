"""The reference as a stage of its own: computed once per checkpoint, corpus and environment, shared by every cell."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from matrix.cells import Record, Workload
from matrix.errors import EngineCrashed, Infrastructure, WrongInput
from matrix.results import Table
from probes.chat import renders
from probes.chat.conversations import Conversation
from probes.chat.renders import Renders
from probes.stopwatch import REFERENCE, Stopwatch
from runners import cache, models
from runners.engine import Environment
from runners.environments import Say
from runners.host import Host
from runners.models import Checkpoint

HERE = Path(__file__).parent
PROGRAM = HERE / "program"
COVERAGE = (PROGRAM / "coverage.py", PROGRAM / "architecture.py")
"""Of the program, what the coverage of a checkpoint depends on."""
CORPUS = HERE.parent / "prompts" / "corpus.toml"

TOP_K = 32
"""Ids kept per position; engines list 20 at most as they are launched here."""

LADDER_SEQUENCES = 8
"""Of the corpus, through the model with rounded weights: a scale to read a verdict by needs no more."""

SIZES = ("--first", "--sequences", "--length")
"""Options of `build`: which part of the corpus."""

SLOWEST_BYTES_S = 50e6
"""Of weights that the disk delivers, by the checkpoint's size: a model read part by part is read some ten times."""

HOSTED_BYTES = 2**28
"""A checkpoint up to this size goes through an interpreter that stays up, in the place of one that imports torch for
each call. The deepest recipe has 151 MB."""

SHOWN = 3
"""Tensor names that fit into a sentence."""


class Coverage(Record, frozen=True, kw_only=True):
    """What a checkpoint, its architecture and its tokenizer do not share."""

    tensors: int
    """What the architecture has."""
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    rows: int
    """Of the output matrix: ids from 0 to rows - 1 have a logprob."""
    largest_id: int
    """Of the tokenizer, but for special tokens."""
    largest_special_id: int
    """-1 where it has none."""
    unknown: str = ""
    """Why transformers knows nothing of the checkpoint; the numbers above are then empty."""

    @property
    def lacking(self) -> tuple[str, ...]:
        """Tensors that the architecture wants and cannot have of this checkpoint."""
        return (*self.missing, *self.mismatched)

    @property
    def fault(self) -> str | None:
        """Why no engine can be judged on this checkpoint, in a sentence."""
        if self.unknown:
            return self.unknown
        if self.largest_id >= self.rows:
            return f"the tokenizer gives ids up to {self.largest_id} but the model has {self.rows} rows"
        return None

    def excuse(self, error: EngineCrashed) -> WrongInput | None:
        """The error for an engine that ended while loading this checkpoint, where the checkpoint is at fault."""
        fault = self.fault or (f"the checkpoint lacks {listed(self.lacking)}" if self.lacking else None)
        if fault is None:
            return None
        excuse = WrongInput(f"{fault}; the engine does not take it: {error}")
        for note in getattr(error, "__notes__", []):
            excuse.add_note(note)
        return excuse


def listed(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


class Reference(Record, frozen=True, kw_only=True):
    """The reference forward pass of one checkpoint, computed on demand and cached by content."""

    checkpoint: Checkpoint
    environment: Environment
    workload: Workload
    watch: Stopwatch
    say: Say = lambda line: None
    host: Host | None = None
    """Where the program runs for a small checkpoint; None: in a process of its own."""
    dtype: str = "bfloat16"
    """What the engine rounds to, and so its noise replicates: bfloat16, float32, int8 or fp8."""

    def corpus(self, first: int = 0, count: int | None = None) -> Table:
        """Token ids of a part of the corpus, and what the reference and its replicates say; arrays as `program` says.

        `count` sequences from number `first` on; as many as the workload says where none is given.
        """
        count = self.workload.corpus_sequences if count is None else count
        size = (first, count, self.workload.corpus_length)
        options = [str(word) for name, n in zip(SIZES, size, strict=True) for word in (name, n)]

        def build(folder: Path) -> None:
            which = f"{count} sequences" if first == 0 else f"sequences {first + 1} to {first + count}"
            self.say(f"reference: {which} of {size[2]} tokens in float32 and its {self.dtype} replicates")
            self._run(folder, "build", "--corpus", str(CORPUS), "--dtype", self.dtype, *options)

        return self._table("corpus", (CORPUS.read_bytes(), repr(size).encode(), self.dtype.encode()), build)

    def score(self, token_ids: Sequence[Sequence[int]], prompt_lengths: Sequence[int]) -> Table:
        """The same for given sequences, padded to the longest; used for what an engine generated."""
        asked = json.dumps(
            {"token_ids": [list(map(int, ids)) for ids in token_ids], "prompt_lengths": list(prompt_lengths)}
        )

        def build(folder: Path) -> None:
            (folder / "ids.json").write_text(asked)
            self.say(f"reference: scoring {len(token_ids)} generated sequences")
            self._run(folder, "score", "--ids", str(folder / "ids.json"), "--dtype", self.dtype)

        return self._table("score", (asked.encode(), self.dtype.encode()), build)

    def alone(self, token_ids: Sequence[Sequence[int]]) -> Table:
        """What the reference says of given sequences, without replicates."""
        asked = json.dumps({"token_ids": [list(map(int, ids)) for ids in token_ids]})

        def build(folder: Path) -> None:
            (folder / "ids.json").write_text(asked)
            self.say(f"reference: scoring {len(token_ids)} given sequences")
            self._run(folder, "score", "--ids", str(folder / "ids.json"), "--alone")

        return self._table("alone", (asked.encode(),), build)

    def ladder(self, corpus: Table) -> Table:
        """What the model itself says of the first sequences of a corpus with visible roundings; none beyond memory."""
        token_ids = corpus["token_ids"][:LADDER_SEQUENCES].tolist()
        asked = json.dumps({"token_ids": token_ids})

        def build(folder: Path) -> None:
            (folder / "ids.json").write_text(asked)
            self.say(f"reference: {len(token_ids)} sequences with rounded weights, for a scale")
            self._run(folder, "ladder", "--ids", str(folder / "ids.json"))

        return self._table("ladder", (asked.encode(),), build)

    def coverage(self) -> Coverage:
        """What the checkpoint lacks or has too much of, as transformers reports it, and how far its ids go."""

        def build(folder: Path) -> None:
            self.say("reference: checking the checkpoint's tensors")
            answer = self._program("coverage", "--model", str(self.checkpoint.folder))
            (folder / "coverage.json").write_text(answer.strip().splitlines()[-1])

        key = self._key("coverage", tuple(path.read_bytes() for path in COVERAGE))
        with self.watch.on(REFERENCE):
            folder = cache.ensure("coverage", key, build, label=self._label)
        answer = json.loads((folder / "coverage.json").read_text())
        return msgspec.convert(answer, Coverage)

    def renders(self, conversations: Sequence[Conversation]) -> Renders:
        """What the checkpoint's own chat template makes of conversations, and at which ids generation ends."""
        asked = msgspec.json.encode(conversations)
        program = (renders.PROGRAM / "__main__.py").read_bytes()

        def build(folder: Path) -> None:
            (folder / "asked.json").write_bytes(asked)
            self.say("reference: rendering conversations")
            words = ("--model", str(self.checkpoint.folder), "--asked", str(folder / "asked.json"))
            answer = self._run_program(renders.PROGRAM, *words)
            (folder / "renders.json").write_text(answer.strip().splitlines()[-1])

        with self.watch.on(REFERENCE):
            key = self._key("renders", (asked, program))
            folder = cache.ensure("renders", key, build, label=self._label)
        return msgspec.json.decode((folder / "renders.json").read_bytes(), type=Renders)

    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer; it adds no special tokens unless told to."""
        path = self.checkpoint.folder / "tokenizer.json"
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise Infrastructure(f"{path.name} is not readable by the tokenizers library: {error}") from error

    @property
    def _label(self) -> str:
        return f"reference of {self.checkpoint.folder.name}"

    def _run(self, folder: Path, command: str, *arguments: str) -> None:
        work = folder / "work"  # what a stopped run has done; the cache keeps it for the next one
        work.mkdir(exist_ok=True)
        self._program(
            command, "--model", str(self.checkpoint.folder),
            "--out", str(folder / "table.npz"), "--work", str(work), "--top-k", str(TOP_K), *arguments,
        )  # fmt: skip
        shutil.rmtree(work)

    def _program(self, *arguments: str) -> str:
        return self._run_program(PROGRAM, *arguments)

    def _run_program(self, program: Path, *arguments: str) -> str:
        deadline_s = models.CONVERSION_DEADLINE_S + self.checkpoint.size / SLOWEST_BYTES_S
        if self.host is not None and self.checkpoint.size <= HOSTED_BYTES:
            return self.host.run(program, *arguments, deadline_s=deadline_s)
        return models.run_program(self.environment.python, "-P", str(program), *arguments, deadline_s=deadline_s)

    def _table(self, command: str, asked: tuple[bytes, ...], build: Callable[[Path], None]) -> Table:
        program = tuple(path.read_bytes() for path in sorted(PROGRAM.glob("*.py")))
        key = self._key(command, (*program, *asked))
        with self.watch.on(REFERENCE):
            path = cache.ensure("references", key, build, label=self._label, keep_partial=True) / "table.npz"
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def _key(self, command: str, asked: tuple[bytes, ...]) -> str:
        digest = hashlib.sha256(f"{command} {self.checkpoint.digest} {self.environment.folder.name} {TOP_K}".encode())
        for part in asked:
            digest.update(hashlib.sha256(part).digest())
        return f"{command}-{digest.hexdigest()[:24]}"
