"""The program's commands and their options."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import transformers

from .corpus import part, read_corpus
from .coverage import coverage
from .errors import InputError
from .ladder import RUNGS, Rung
from .models import Resident, available_memory, fits, load_config, load_model, open_model, vocabulary
from .resume import Notebook
from .sheet import Arrays, Ids, Sheet, given, save
from .streamed import Streamed
from .ways import (
    FLOAT32_NOISE,
    FP8_NOISE,
    INT8_NOISE,
    NOISE,
    REFERENCE,
    STREAMED_FLOAT32_NOISE,
    STREAMED_FP8_NOISE,
    STREAMED_INT8_NOISE,
    STREAMED_NOISE,
    Replicate,
    whole,
)

SCHEMA = 2

FAMILIES = {
    "bfloat16": (NOISE, STREAMED_NOISE),
    "float32": (FLOAT32_NOISE, STREAMED_FLOAT32_NOISE),
    "int8": (INT8_NOISE, STREAMED_INT8_NOISE),
    "fp8": (FP8_NOISE, STREAMED_FP8_NOISE),
}
"""Noise replicates by what an engine rounds to: of a model in memory, and of one read part by part."""


class Clock:
    """Seconds per stage, told on stderr as they pass, and what was read meanwhile."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self.read: dict[str, dict[str, float]] = {}
        """Bytes and seconds of reading, by stage, where a model was read part by part."""
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """End a stage: everything since the last lap was spent on it."""
        now = time.monotonic()
        self.stages[stage] = round(now - self._last, 2)
        self._last = now
        print(f"{stage}: {self.stages[stage]:.1f} s", file=sys.stderr, flush=True)


def measure(folder: Path, sequences: Sequence[Ids], options: argparse.Namespace, clock: Clock) -> Arrays:
    """Score the sequences with the reference and every noise replicate; one model is in memory at a time.

    With a work folder, what was done before a stop is not done again.
    """
    arrays: Arrays = {}
    for replicate in (REFERENCE, *family(options)):
        done = options.work / f"{replicate.name}.npz" if options.work else None
        if done is not None and done.is_file():
            with np.load(done) as archive:
                arrays |= dict(archive)
            continue
        found = _score(folder, sequences, replicate, options, clock)
        if done is not None:
            save(done, found)
        arrays |= found
        clock.lap(replicate.name)
    return arrays


def _score(
    folder: Path, sequences: Sequence[Ids], replicate: Replicate, options: argparse.Namespace, clock: Clock
) -> Arrays:
    notebook = Notebook(options.work / f"{replicate.name}.notebook", options.note_every) if options.work else None
    opened = open_model(folder, replicate.dtype, replicate.attention, memory=options.memory, notebook=notebook)
    sheet = Sheet(sequences, options.top_k)
    with replicate.arithmetic(opened.model):
        for jobs in replicate.way(opened.model, sheet):
            opened.run(jobs)
    if isinstance(opened, Streamed):
        clock.read[replicate.name] = {"bytes": opened.reader.bytes, "seconds": round(opened.reader.seconds, 2)}
    if notebook is not None:
        notebook.close()
    return sheet.arrays(replicate.name)


def family(options: argparse.Namespace) -> tuple[Replicate, ...]:
    """The noise replicates of an engine that computes in this dtype, as this much memory allows; none if not wanted."""
    if options.alone:
        return ()
    streamed = not fits(options.model, options.memory)
    resident, in_parts = FAMILIES[options.dtype]
    return in_parts if streamed else resident


def metadata(config: Any, arguments: argparse.Namespace, clock: Clock, **more: Any) -> str:
    """What was run on what, as JSON text."""
    record = {
        "schema": SCHEMA,
        **versions(),
        "architecture": (config.architectures or [type(config).__name__])[0],
        "model_type": config.model_type,
        "vocabulary": vocabulary(config),
        "checkpoint_dtype": str(config.dtype).removeprefix("torch."),
        "config_sha256": _sha256(arguments.model / "config.json"),
        "command": arguments.command,
        "seconds": clock.stages,
        "read": clock.read,
        **more,
    }
    return json.dumps(record, sort_keys=True)


def scored(arguments: argparse.Namespace) -> dict[str, Any]:
    """For the metadata: through which ways."""
    return {
        "reference": REFERENCE.name,
        "dtype": arguments.dtype,
        "replicates": [replicate.name for replicate in family(arguments)],
    }


def versions() -> dict[str, Any]:
    """Versions and threads: the same reference on another of these may round differently."""
    return {
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- commands ---------------------------------------------------------------------------------------------


def describe(_: argparse.Namespace) -> None:
    """Print the versions as JSON."""
    print(json.dumps(versions()))


def cover(arguments: argparse.Namespace) -> None:
    """Print what the checkpoint and its architecture do not share, as JSON."""
    if not (arguments.model / "config.json").is_file():
        raise InputError(f"no model at {arguments.model}: a folder with a config.json is expected")
    print(json.dumps(coverage(arguments.model)))


def build(arguments: argparse.Namespace) -> None:
    """Make a part of the corpus and score it."""
    config = load_config(arguments.model)
    tables = read_corpus(arguments.corpus)
    clock = Clock()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model, local_files_only=True)
    load = partial(load_model, arguments.model, REFERENCE.dtype, REFERENCE.attention)
    corpus = part(
        tokenizer,
        tables,
        load if fits(arguments.model, arguments.memory) else None,
        first=arguments.first,
        count=arguments.sequences,
        length=arguments.length,
        seed=arguments.seed,
    )
    check_ids(corpus.sequences, vocabulary(config))
    clock.lap("corpus")
    arguments.top_k = min(arguments.top_k, vocabulary(config))
    arrays = measure(arguments.model, corpus.sequences, arguments, clock)
    arrays |= given(corpus.sequences, [1] * len(corpus.sequences), corpus.domains)
    more = scored(arguments) | {"top_k": arguments.top_k}
    more |= {"seed": arguments.seed, "first": arguments.first, "corpus_version": tables.get("version")}
    more |= {"corpus_sha256": _sha256(arguments.corpus), "chat_template": tokenizer.chat_template is not None}
    arrays["metadata"] = np.array(metadata(config, arguments, clock, **more))
    save(arguments.out, arrays)


def score(arguments: argparse.Namespace) -> None:
    """Score given token ids."""
    config = load_config(arguments.model)
    sequences, prompt_lengths = read_ids(arguments.ids)
    check_ids(sequences, vocabulary(config))
    clock = Clock()
    arguments.top_k = min(arguments.top_k, vocabulary(config))
    arrays = measure(arguments.model, sequences, arguments, clock)
    arrays |= given(sequences, prompt_lengths, ["given"] * len(sequences))
    arrays["metadata"] = np.array(metadata(config, arguments, clock, top_k=arguments.top_k, **scored(arguments)))
    save(arguments.out, arrays)


def ladder(arguments: argparse.Namespace) -> None:
    """Score given token ids with the model's own visible roundings; none of a model that does not fit into memory."""
    sequences, _ = read_ids(arguments.ids)
    config = load_config(arguments.model)
    check_ids(sequences, vocabulary(config))
    clock = Clock()
    arguments.top_k = min(arguments.top_k, vocabulary(config))
    rungs = RUNGS if fits(arguments.model, arguments.memory) else ()
    if not rungs:
        print(f"ladder: none, the model does not fit into {arguments.memory} bytes of memory", file=sys.stderr)
    found: Arrays = {}
    for rung in rungs:
        found |= climb(rung, sequences, arguments)
        clock.lap(rung.name)
    names = [rung.name for rung in rungs if f"{rung.name}/target_logprobs" in found]
    arrays = given(sequences, [1] * len(sequences), ["given"] * len(sequences)) | found
    more = {"dtype": "bfloat16", "rungs": names, "top_k": arguments.top_k}
    arrays["metadata"] = np.array(metadata(config, arguments, clock, **more))
    save(arguments.out, arrays)


def climb(rung: Rung, sequences: Sequence[Ids], arguments: argparse.Namespace) -> Arrays:
    """What the model says with one rounding; nothing if that rounds nothing in it."""
    opened = Resident(load_model(arguments.model, "bfloat16", "sdpa"))
    if rung.apply(opened.model) == 0:
        print(f"{rung.name}: left out, it rounds nothing in a {type(opened.model).__name__}", file=sys.stderr)
        return {}
    sheet = Sheet(sequences, arguments.top_k)
    for jobs in whole(opened.model, sheet):
        opened.run(jobs)
    return sheet.arrays(rung.name)


def read_ids(path: Path) -> tuple[list[Ids], list[int]]:
    """Sequences and prompt lengths from a JSON file; prompts count as one token long where none are given."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        sequences = [[_whole_number(token) for token in ids] for ids in given["token_ids"]]
        prompt_lengths = [_whole_number(length) for length in given.get("prompt_lengths", [1] * len(sequences))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"ids {path}: {type(error).__name__}: {error}") from error
    if not sequences or len(prompt_lengths) != len(sequences):
        raise InputError(f"ids {path}: {len(sequences)} sequences and {len(prompt_lengths)} prompt lengths")
    for place, (ids, length) in enumerate(zip(sequences, prompt_lengths, strict=True)):
        if len(ids) < 2 or not 1 <= length <= len(ids):
            raise InputError(f"ids {path}: sequence {place} has {len(ids)} tokens and a prompt of {length}")
    return sequences, prompt_lengths


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def check_ids(sequences: Sequence[Ids], size: int) -> None:
    """InputError at the first id that the model has no row for: indexing would wrap around or crash."""
    for place, ids in enumerate(sequences):
        for position, token in enumerate(ids):
            if not 0 <= token < size:
                where = f"sequence {place} position {position}"
                raise InputError(f"token id {token} at {where} is outside the vocabulary of {size}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; InputError if it does not make sense."""
    parser = _Parser(prog="program", description="The reference forward pass and its noise replicates.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("describe", help="versions and threads, as JSON").set_defaults(run=describe)
    covering = commands.add_parser("coverage", help="tensors and ids that do not fit, as JSON")
    covering.set_defaults(run=cover)
    covering.add_argument("--model", type=Path, required=True)
    for name, run, source in (
        ("build", build, "--corpus"),
        ("score", score, "--ids"),
        ("ladder", ladder, "--ids"),
    ):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--model", type=Path, required=True)
        command.add_argument(source, type=Path, required=True)
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--top-k", type=int, default=32)
        command.add_argument("--memory", type=int, default=available_memory(), help="bytes a model may take")
        command.add_argument("--work", type=Path, help="folder that keeps what a stopped run has done")
        if name == "ladder":
            continue
        command.add_argument("--dtype", choices=tuple(FAMILIES), default="bfloat16", help="of the replicates")
        command.add_argument("--alone", action="store_true", help="the reference without its noise replicates")
        command.add_argument("--note-every", type=float, default=10.0, help="seconds between two notes in that folder")
        if name == "build":
            command.add_argument("--first", type=int, default=0, help="number of the first sequence")
            command.add_argument("--sequences", type=int, default=16)
            command.add_argument("--length", type=int, default=128)
            command.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args(arguments)
    for option, least in (("top_k", 1), ("first", 0), ("sequences", 1), ("length", 2)):
        if getattr(parsed, option, least) < least:
            raise InputError(f"--{option.replace('_', '-')} must be at least {least}")
    return parsed


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0, or 2 with one line on stderr for wrong input."""
    try:
        parsed = parse(arguments)
        with torch.inference_mode():
            parsed.run(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
