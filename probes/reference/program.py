"""The reference forward pass and its noise replicates, as one standalone program.

It runs in an environment of its own (torch, transformers and numpy; nothing of this project is imported) as
`python -P program.py COMMAND ...`:

    describe                                        versions and threads, as JSON on stdout
    build --model DIR --corpus TOML --out NPZ       make a corpus of token ids and score it
    score --model DIR --ids JSON --out NPZ          score the token ids that an engine was given or generated

Both `build` and `score` write, for the reference (float32 arithmetic, eager attention, batch 1, no cache) and
for every noise replicate (bfloat16, each along another numeric path), what each position's context says of
the next token. In the arrays below column n belongs to token n + 1 of its sequence, and the sequences are
padded to the longest one (target_logprobs, logsumexp and top_logprobs with NaN, ids with -1):

    token_ids [S, L] int32      lengths [S] int32      prompt_lengths [S] int32      domain [S] str
    <name>/target_logprobs [S, L-1] float32     <name>/logsumexp [S, L-1] float32
    <name>/top_ids [S, L-1, K] int32            <name>/top_logprobs [S, L-1, K] float32, descending
    metadata: JSON text in an array of no dimension

Wrong input (no such model folder, a corpus too short, an id outside the vocabulary) is one line on stderr and
exit status 2.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

# The model is a folder on this disk; a hub that is down or asks for a token must not matter.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
import transformers  # type: ignore[import-not-found,unused-ignore]
import transformers.utils.logging  # type: ignore[import-not-found,unused-ignore]
from torch.nn.attention import SDPBackend, sdpa_kernel  # type: ignore[import-not-found,unused-ignore]

SCHEMA = 1
DECODE_BATCH = 32  # rows decoded together: a step reads every weight once, however many rows share it
PADDED_BATCH = 4
PAD_STEP = 7  # tokens by which the rows of a padded batch differ; coprime to the block sizes of attention kernels
CHUNKS_EIGHTHS = 3  # a prefill chunk is 3/8 of the sequence: two whole chunks and a shorter one, aligned to nothing
SAMPLE_BATCH = 32
ROW_PARALLEL = (
    "o_proj",
    "down_proj",
    "out_proj",
    "c_proj",
    "dense_4h_to_h",
)  # what tensor parallelism splits and adds

Ids = list[int]


class InputError(Exception):
    """What the caller gave cannot be used; the message is shown as it is, with exit status 2."""


class Replicate(NamedTuple):
    """One way of computing the same logprobs: a name, how the model is built, and how it is fed."""

    name: str
    dtype: str
    attention: str
    run: Callable[[Any, Sheet], None]
    arithmetic: Callable[[Any], AbstractContextManager[Any]] = nullcontext


class Sheet:
    """Arrays of one replicate, filled position by position; column n belongs to token n + 1."""

    def __init__(self, sequences: Sequence[Ids], top_k: int) -> None:
        self.sequences = sequences
        self.lengths = np.array([len(ids) for ids in sequences])
        columns = int(self.lengths.max()) - 1
        shape = (len(sequences), columns)
        self.top_k = top_k
        self.target_logprobs = np.full(shape, np.nan, np.float32)
        self.logsumexp = np.full(shape, np.nan, np.float32)
        self.top_ids = np.full((*shape, top_k), -1, np.int32)
        self.top_logprobs = np.full((*shape, top_k), np.nan, np.float32)

    def write(self, rows: Sequence[int], columns: Sequence[int], logits: Any) -> None:
        """Record logits [n, vocabulary]; the n-th predicts token columns[n] + 1 of sequence rows[n]."""
        if not rows:
            return
        # log-softmax in float32 whatever the model's dtype, as engines do: in bfloat16 it would round the
        # logprobs themselves to 1/256 and hide the noise of the forward pass behind that of the reporting.
        values = logits.float()
        total = torch.logsumexp(values, dim=-1)
        targets = torch.tensor([self.sequences[r][c + 1] for r, c in zip(rows, columns, strict=True)])
        best = torch.topk(values, self.top_k, dim=-1)
        where = (np.asarray(rows), np.asarray(columns))
        self.target_logprobs[where] = (values.gather(1, targets[:, None])[:, 0] - total).numpy()
        self.logsumexp[where] = total.numpy()
        self.top_ids[where] = best.indices.numpy()
        self.top_logprobs[where] = (best.values - total[:, None]).numpy()

    def write_run(self, row: int, first: int, logits: Any) -> None:
        """Record consecutive logits [n, vocabulary] of one sequence; the first follows token `first`."""
        count = min(len(logits), int(self.lengths[row]) - 1 - first)
        if count > 0:
            self.write([row] * count, range(first, first + count), logits[:count])


# --- the ways through the model ---------------------------------------------------------------------------


def whole(model: Any, sheet: Sheet) -> None:
    """One sequence at a time, no cache: the plainest path, used for the reference and for sdpa and eager."""
    for row, ids in enumerate(sheet.sequences):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        sheet.write_run(row, 0, logits)


def left_padded(model: Any, sheet: Sheet) -> None:
    """Batches of rows of mixed length, padded on the left, as a static batcher would send them.

    Rows of equal length would need no padding, so each row is continued by a different number of its own
    tokens behind the scored ones: a causal model cannot see them there, and the padding in front becomes
    real.
    """
    for group in _groups(len(sheet.sequences), PADDED_BATCH):
        rows = [_continued(sheet.sequences[row], PAD_STEP * place) for place, row in enumerate(group)]
        width = max(len(ids) for ids in rows)
        pads = [width - len(ids) for ids in rows]
        batch = torch.tensor([ids[:1] * pad + ids for ids, pad in zip(rows, pads, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
        # Without explicit positions a forward call counts the padding too.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(input_ids=batch, attention_mask=mask, position_ids=positions, use_cache=False).logits
        for place, row in enumerate(group):
            sheet.write_run(row, 0, logits[place, pads[place] :])


def chunked_prefill(model: Any, sheet: Sheet) -> None:
    """One sequence at a time in three chunks, each attending to the cache that the chunks before it left."""
    for row, ids in enumerate(sheet.sequences):
        size = max(1, len(ids) * CHUNKS_EIGHTHS // 8)
        cache = None
        for start in range(0, len(ids), size):
            chunk = torch.tensor([ids[start : start + size]])
            output = model(input_ids=chunk, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            sheet.write_run(row, start, output.logits[0])


def decode(model: Any, sheet: Sheet) -> None:
    """Token by token with a cache, many rows at once; an ended row is fed its first token and ignored."""
    for group in _groups(len(sheet.sequences), DECODE_BATCH):
        cache = None
        for step in range(int(sheet.lengths[group].max()) - 1):
            column = [sheet.sequences[row][step if step < sheet.lengths[row] else 0] for row in group]
            output = model(input_ids=torch.tensor(column)[:, None], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            alive = [place for place, row in enumerate(group) if step < sheet.lengths[row] - 1]
            sheet.write([group[place] for place in alive], [step] * len(alive), output.logits[alive, -1])


# --- other arithmetic for the same sums -------------------------------------------------------------------


def math_attention(_: Any) -> AbstractContextManager[Any]:
    """Scaled dot-product attention by plain matrix products instead of the fused kernel."""
    return sdpa_kernel([SDPBackend.MATH])  # type: ignore[no-any-return,unused-ignore]


@contextmanager
def two_ranks(model: Any) -> Iterator[None]:
    """Add the layers' outputs from two halves, each rounded by itself, as two tensor-parallel devices do."""
    layers = [
        layer for name, layer in model.named_modules() if name.endswith(ROW_PARALLEL) and type(layer) is torch.nn.Linear
    ]
    for layer in layers:
        layer.forward = _halved(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _halved(layer: Any) -> Callable[[Any], Any]:
    half = layer.in_features // 2
    linear = torch.nn.functional.linear

    def forward(values: Any) -> Any:
        left = linear(values[..., :half], layer.weight[:, :half])
        return left + linear(values[..., half:], layer.weight[:, half:], layer.bias)

    return forward


REFERENCE = Replicate("reference", "float32", "eager", whole)
# Every replicate rounds to bfloat16, the dtype of the released weights, and none of them is wrong: what they
# disagree about is the rounding noise against which an engine is measured. Padding and chunking alone leave
# every bit as it was in a CPU's kernels (measured: 99% and 100% of the logprobs equal to those of plain
# sdpa), and a replicate that repeats another one says nothing new; hence another arithmetic beside each.
NOISE = (
    Replicate("bf16-sdpa", "bfloat16", "sdpa", whole),
    Replicate("bf16-left-padded", "bfloat16", "sdpa", left_padded, math_attention),
    Replicate("bf16-chunked-prefill", "bfloat16", "sdpa", chunked_prefill, two_ranks),
    Replicate("bf16-decode", "bfloat16", "sdpa", decode),
    Replicate("bf16-eager", "bfloat16", "eager", whole),
)


def _groups(count: int, size: int) -> Iterator[list[int]]:
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))


def _continued(ids: Ids, extra: int) -> Ids:
    return ids + (ids * (extra // len(ids) + 1))[:extra]


# --- model and tokenizer ----------------------------------------------------------------------------------


def load_model(folder: Path, dtype: str, attention: str) -> Any:
    """Build the model in `dtype` straight from its files.

    Never `.to(dtype)` afterwards: that also rounds the buffers, and RoPE's inverse frequencies in bfloat16
    are off by up to 0.4%, which is an error of its own and not the noise of an engine.
    """
    transformers.utils.logging.disable_progress_bar()  # stderr carries one line a stage
    options = {"dtype": getattr(torch, dtype), "local_files_only": True}
    make = transformers.AutoModelForCausalLM.from_pretrained
    try:
        model = make(folder, attn_implementation=attention, **options)
    except ValueError as error:
        # Architectures with sinks or soft-caps have eager attention only; the replicate then differs by how
        # it is fed.
        if attention == "eager" or "attention" not in str(error):
            raise
        model = make(folder, attn_implementation="eager", **options)
    return model.eval()


def load_config(folder: Path) -> Any:
    """The configuration of the model in `folder`; InputError if there is no model."""
    if not (folder / "config.json").is_file():
        raise InputError(f"no model at {folder}: a folder with a config.json is expected")
    return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)


def vocabulary(config: Any) -> int:
    """Rows of the output matrix, which may be more than the tokenizer has tokens."""
    return int(config.get_text_config().vocab_size)


# --- the corpus -------------------------------------------------------------------------------------------


class Corpus(NamedTuple):
    """Token-id sequences with the domain of each."""

    sequences: list[Ids]
    domains: list[str]


def read_corpus(path: Path) -> dict[str, Any]:
    """The corpus file as tables; InputError if it cannot be read or has no passages or seeds."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"corpus {path}: {error}") from error
    if not tables.get("passage") or not tables.get("seed"):
        raise InputError(f"corpus {path}: [[passage]] and [[seed]] tables are expected")
    return tables


def choose_passages(passages: Sequence[dict[str, Any]], count: int) -> list[tuple[int, dict[str, Any]]]:
    """`count` passages with their places in the file, the domains taken in turn so that each is there."""
    by_domain: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for place, passage in enumerate(passages, start=1):
        by_domain.setdefault(passage["domain"], []).append((place, passage))
    depth = max(len(group) for group in by_domain.values())
    turns = [group[turn] for turn in range(depth) for group in by_domain.values() if turn < len(group)]
    if len(turns) < count:
        raise InputError(f"the corpus has {len(turns)} passages, {count} are needed")
    return turns[:count]


def render(tokenizer: Any, passage: dict[str, Any]) -> Ids:
    """Token ids of a passage: text as the tokenizer takes it, messages through the model's chat template."""
    if "messages" not in passage:
        return list(tokenizer(passage["text"]).input_ids)
    if tokenizer.chat_template is None:  # a base model: the same words, plainly
        return list(tokenizer("\n\n".join(m["content"] for m in passage["messages"])).input_ids)
    text = tokenizer.apply_chat_template(passage["messages"], tokenize=False)
    # The template writes the special tokens itself; letting the tokenizer add them again would double the
    # BOS.
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def written(tokenizer: Any, tables: dict[str, Any], count: int, length: int) -> Corpus:
    """The first `length` tokens of `count` passages; InputError names a passage that has fewer."""
    chosen = choose_passages(tables["passage"], count) if count else []
    sequences = []
    for place, passage in chosen:
        ids = render(tokenizer, passage)
        if len(ids) < length:
            raise InputError(
                f"the corpus is too short for this tokenizer: passage {place} ({passage['domain']}) "
                f"gives {len(ids)} tokens, {length} are needed"
            )
        sequences.append(ids[:length])
    return Corpus(sequences, [passage["domain"] for _, passage in chosen])


def on_policy(model: Any, tokenizer: Any, tables: dict[str, Any], count: int, length: int, seed: int) -> Corpus:
    """`count` sequences sampled at temperature 1 from the float32 reference, one after each seed text.

    A k3 estimate of a divergence is one only if the tokens come from one of the two models, and a model's own
    text is where users meet it. Openings of different length need no padding: every row is fed its own
    opening token by token for as long as it lasts, and its own samples after that.
    """
    seeds = [item["text"] for item in tables["seed"]]
    if len(seeds) < count:
        raise InputError(f"the corpus has {len(seeds)} seeds, {count} are needed")
    openings = [list(tokenizer(text).input_ids)[: max(1, length // 2)] for text in seeds[:count]]
    if empty := [place for place, ids in enumerate(openings, start=1) if not ids]:
        raise InputError(f"the corpus is too short for this tokenizer: seed {empty[0]} gives no tokens")
    generator = torch.Generator().manual_seed(seed)
    sequences = [
        row
        for group in _groups(count, SAMPLE_BATCH)
        for row in _sample(model, [openings[row] for row in group], length, generator)
    ]
    return Corpus(sequences, ["on-policy"] * count)


def _sample(model: Any, openings: list[Ids], length: int, generator: Any) -> list[Ids]:
    rows = [opening[:1] for opening in openings]
    cache = None
    for step in range(1, length):
        output = model(input_ids=torch.tensor([row[-1:] for row in rows]), past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        probabilities = torch.softmax(output.logits[:, -1].float(), dim=-1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)[:, 0].tolist()
        for row, opening, token in zip(rows, openings, drawn, strict=True):
            row.append(opening[step] if step < len(opening) else token)
    return rows


# --- measuring, shared by build and score -----------------------------------------------------------------


class Clock:
    """Seconds per stage, told on stderr as they pass."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """End a stage: everything since the last lap was spent on it."""
        now = time.monotonic()
        self.stages[stage] = round(now - self._last, 2)
        self._last = now
        print(f"{stage}: {self.stages[stage]:.1f} s", file=sys.stderr, flush=True)


def measure(folder: Path, sequences: Sequence[Ids], top_k: int, clock: Clock) -> dict[str, np.ndarray[Any, Any]]:
    """Score the sequences with the reference and every noise replicate; one model is in memory at a time."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    model, built = None, ("", "")
    for replicate in (REFERENCE, *NOISE):
        if built != (replicate.dtype, replicate.attention):
            model = None  # let go of the last one before the next one is read
            model = load_model(folder, replicate.dtype, replicate.attention)
            built = (replicate.dtype, replicate.attention)
        sheet = Sheet(sequences, top_k)
        with replicate.arithmetic(model):
            replicate.run(model, sheet)
        for field in ("target_logprobs", "logsumexp", "top_ids", "top_logprobs"):
            arrays[f"{replicate.name}/{field}"] = getattr(sheet, field)
        clock.lap(replicate.name)
    return arrays


def padded_ids(sequences: Sequence[Ids]) -> np.ndarray[Any, Any]:
    """Sequences as one array [S, longest], -1 beyond each one's end."""
    array = np.full((len(sequences), max(len(ids) for ids in sequences)), -1, np.int32)
    for row, ids in enumerate(sequences):
        array[row, : len(ids)] = ids
    return array


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
        "reference": REFERENCE.name,
        "replicates": [replicate.name for replicate in NOISE],
        "seconds": clock.stages,
        **more,
    }
    return json.dumps(record, sort_keys=True)


def versions() -> dict[str, Any]:
    """Versions and threads: the same reference on another of these may round differently."""
    return {
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
    }


def save(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Write the arrays whole or not at all: a reader must never meet half a reference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type,unused-ignore]
        os.chmod(temporary, 0o644)  # mkstemp makes it private; the harness may run as another user
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- commands ---------------------------------------------------------------------------------------------


def describe(_: argparse.Namespace) -> None:
    """Print the versions as JSON."""
    print(json.dumps(versions()))


def build(arguments: argparse.Namespace) -> None:
    """Make the corpus, half of it written and half on-policy, and score it."""
    config = load_config(arguments.model)
    tables = read_corpus(arguments.corpus)
    clock = Clock()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model, local_files_only=True)
    sampled = arguments.sequences // 2
    first = written(tokenizer, tables, arguments.sequences - sampled, arguments.length)
    check_ids(first.sequences, vocabulary(config))
    model = load_model(arguments.model, REFERENCE.dtype, REFERENCE.attention)
    second = on_policy(model, tokenizer, tables, sampled, arguments.length, arguments.seed)
    del model
    clock.lap("corpus")
    sequences, domains = first.sequences + second.sequences, first.domains + second.domains
    top_k = min(arguments.top_k, vocabulary(config))
    arrays = measure(arguments.model, sequences, top_k, clock)
    arrays |= _given(sequences, [1] * len(sequences), domains)
    arrays["metadata"] = np.array(
        metadata(
            config,
            arguments,
            clock,
            seed=arguments.seed,
            top_k=top_k,
            corpus_version=tables.get("version"),
            corpus_sha256=_sha256(arguments.corpus),
            chat_template=tokenizer.chat_template is not None,
        )
    )
    save(arguments.out, arrays)


def score(arguments: argparse.Namespace) -> None:
    """Score given token ids."""
    config = load_config(arguments.model)
    sequences, prompt_lengths = read_ids(arguments.ids)
    check_ids(sequences, vocabulary(config))
    clock = Clock()
    top_k = min(arguments.top_k, vocabulary(config))
    arrays = measure(arguments.model, sequences, top_k, clock)
    arrays |= _given(sequences, prompt_lengths, ["given"] * len(sequences))
    arrays["metadata"] = np.array(metadata(config, arguments, clock, top_k=top_k))
    save(arguments.out, arrays)


def _given(sequences: list[Ids], prompt_lengths: list[int], domains: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "token_ids": padded_ids(sequences),
        "lengths": np.array([len(ids) for ids in sequences], np.int32),
        "prompt_lengths": np.array(prompt_lengths, np.int32),
        "domain": np.array(domains),
    }


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
    parser = _Parser(prog="program.py", description="The reference forward pass and its noise replicates.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("describe", help="versions and threads, as JSON").set_defaults(run=describe)
    for name, run, source in (("build", build, "--corpus"), ("score", score, "--ids")):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--model", type=Path, required=True)
        command.add_argument(source, type=Path, required=True)
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--top-k", type=int, default=32)
        if name == "build":
            command.add_argument("--sequences", type=int, default=32)
            command.add_argument("--length", type=int, default=128)
            command.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args(arguments)
    for option, least in (("top_k", 1), ("sequences", 1), ("length", 2)):
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
