"""The corpus: written passages through the model's own tokenizer and template, and text sampled from the model."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import InputError
from .sheet import Ids
from .ways import groups

SAMPLE_BATCH = 32


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
        for group in groups(count, SAMPLE_BATCH)
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
