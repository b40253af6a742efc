"""The corpus: written passages through the model's own tokenizer and template, and text sampled from the model."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import InputError
from .sheet import Ids
from .ways import groups, with_cache

SAMPLE_BATCH = 32
PLACEHOLDER = re.compile(r"(image|video|audio)_token_(id|index)")
"""Names of a config's keys for ids that stand for other media."""


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


def in_turn(passages: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Passages by domain, in the file's order."""
    by_domain: dict[str, list[dict[str, Any]]] = {}
    for passage in passages:
        by_domain.setdefault(passage["domain"], []).append(passage)
    return by_domain


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


def written(tokenizer: Any, tables: dict[str, Any], length: int) -> Corpus:
    """All sequences of `length` tokens that the passages give, the domains in turn so that each is there early.

    A passage with fewer tokens, as a coarse tokenizer or a large `length` makes it, is followed by the next of its
    domain. No passage is used twice, and none is cut in two: text that begins in its middle has no opening.
    """
    by_domain = {name: _joined(tokenizer, group, length) for name, group in in_turn(tables["passage"]).items()}
    depth = max(len(group) for group in by_domain.values())
    turns = [(group[turn], name) for turn in range(depth) for name, group in by_domain.items() if turn < len(group)]
    return Corpus([ids for ids, _ in turns], [name for _, name in turns])


def _joined(tokenizer: Any, passages: Sequence[dict[str, Any]], length: int) -> list[Ids]:
    sequences: list[Ids] = []
    ids: Ids = []
    for passage in passages:
        more = render(tokenizer, passage)
        ids = ids + (more[1:] if ids and more[:1] == [tokenizer.bos_token_id] else more)
        if len(ids) >= length:
            sequences.append(ids[:length])
            ids = []
    return sequences


def drawn(model: Any, tokenizer: Any, tables: dict[str, Any], draws: Sequence[int], length: int, seed: int) -> Corpus:
    """Sequences sampled at temperature 1 from the float32 reference; draw d opens with seed text d, in rotation.

    A k3 estimate of a divergence is one only if the tokens come from one of the two models, and a model's own
    text is where users meet it. Openings of different length need no padding: every row is fed its own
    opening token by token for as long as it lasts, and its own samples after that. Each draw has a random generator
    of its own, so it does not depend on which others are drawn with it.
    """
    seeds = [item["text"] for item in tables["seed"]]
    openings = [list(tokenizer(text).input_ids)[: max(1, length // 2)] for text in seeds]
    if empty := [place for place, ids in enumerate(openings, start=1) if not ids]:
        raise InputError(f"the corpus is too short for this tokenizer: seed {empty[0]} gives no tokens")
    banned = placeholders(model)
    sequences = []
    for group in groups(len(draws), SAMPLE_BATCH):
        some = [draws[place] for place in group]
        generators = [torch.Generator().manual_seed(seed + draw) for draw in some]
        some_openings = [openings[draw % len(openings)] for draw in some]
        sequences += _sample(model, some_openings, length, generators, known=len(tokenizer), banned=banned)
    return Corpus(sequences, ["on-policy"] * len(draws))


def placeholders(model: Any) -> Ids:
    """Ids that stand in a prompt for other media, which no text gives: classes differ in what they read there."""
    config = model.config.to_dict()
    return sorted({value for key, value in config.items() if PLACEHOLDER.fullmatch(key) and isinstance(value, int)})


def _sample(
    model: Any, openings: list[Ids], length: int, generators: Sequence[Any], known: int, banned: Ids
) -> list[Ids]:
    """Of the `known` ids that the tokenizer has: no text gives those of further rows of the output matrix."""
    rows = [opening[:1] for opening in openings]
    cache = None
    for step in range(1, length):
        output, cache = with_cache(model, torch.tensor([row[-1:] for row in rows]), cache)
        probabilities = torch.softmax(output.logits[:, -1, :known].float(), dim=-1)
        probabilities[:, [number for number in banned if number < known]] = 0.0
        for row, opening, chances, generator in zip(rows, openings, probabilities, generators, strict=True):
            given = step < len(opening)
            row.append(opening[step] if given else int(torch.multinomial(chances, 1, generator=generator)))
    return rows


class Place(NamedTuple):
    """Where one sequence of the corpus comes from: the number of a written sequence, or of a draw."""

    drawn: bool
    number: int


def place(number: int, available: int) -> Place:
    """Every other sequence is the next of the `available` written ones; the others, endlessly many, are drawn."""
    if number % 2 == 0 and number // 2 < available:
        return Place(False, number // 2)
    return Place(True, number - min((number + 1) // 2, available))


def part(
    tokenizer: Any,
    tables: dict[str, Any],
    load: Callable[[], Any] | None,
    *,
    first: int,
    count: int,
    length: int,
    seed: int,
) -> Corpus:
    """Sequences `first` to `first + count - 1` of the endless corpus; any two parts that share none are disjoint.

    `load` gives the float32 model to draw from; None where that would read its weights once a token: then all is
    written, and InputError says how much there is.
    """
    texts = written(tokenizer, tables, length)
    numbers, available = range(first, first + count), len(texts.sequences)
    if load is None and first + count > available:
        raise InputError(f"the corpus has {available} written sequences of {length} tokens, {first + count} are needed")
    found = [place(number, available) if load else Place(False, number) for number in numbers]
    draws = [one.number for one in found if one.drawn]
    samples = drawn(load(), tokenizer, tables, draws, length, seed) if load and draws else Corpus([], [])
    sampled = iter(zip(*samples, strict=True))
    rows = [next(sampled) if one.drawn else (texts.sequences[one.number], texts.domains[one.number]) for one in found]
    return Corpus([ids for ids, _ in rows], [domain for _, domain in rows])
