"""Correctness: the engine's logprobs against the reference forward pass, in units of the model's own rounding noise.

Prefill: the corpus, teacher-forced, where the engine scores given token ids. Decode: the engine generates greedily and
the reference scores what came, with the engine's logprobs where it gives them; where it gives text alone, by the margin
of each generated token (Token-DiFR at temperature 0, arXiv 2511.20621).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np

from matrix.cells import Cell
from matrix.errors import EngineBrokeProtocol, Infrastructure
from matrix.results import Measurement, Table
from probes import ends, pooling, strata, ways
from probes.client import Client, connect, in_flight
from probes.probe import Bench, Look, Probe
from probes.strata import Correctness
from runners.engine import Ask, Generation, Prompt, Scores, Server

IN_FLIGHT = 4
"""Generations at once: the batched decode path that users run."""

TEXT_FACTOR = 2
"""A generated token says less than its logprobs do: a clean PASS by margins takes some 900 tokens and leaves no room
for the one mismatch in a thousand that rounding makes, so an engine of text alone is asked for twice as much."""


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """Score a part of the corpus where the engine can, generate from its prompts, and have the reference score that."""
    corpus = bench.corpus()
    prefill, prompts, made = asyncio.run(_ask(server, cell, bench, corpus))
    tables = {"corpus": corpus}
    if bench.look == Look() and cell.dtype != "float32":
        tables["ladder"] = bench.reference.ladder(corpus)
    if prefill is not None:
        tables["prefill"] = stack(prefill, width=corpus["token_ids"].shape[1] - 1)
    tables |= decoded(server, bench, [prompt.token_ids for prompt in prompts], made, "decode")
    if "decode reference" not in tables:
        # Text that does not survive a tokenizer may be garbage or just another spelling: nobody can be blamed for it.
        raise Infrastructure("no generated text gives its token ids back, so nothing can be compared")
    values = Correctness(
        top_k=server.engine.max_top_k,
        prefill=prefill is not None,
        decode="logprobs" if "decode" in tables else "text",
        texts=sum(answer.token_ids is None for answer in made),
        unusable_texts=len(made) - len(tables["decode reference"]["lengths"]),
        launched=server.log_path is not None,
    )
    return Measurement(values=msgspec.to_builtins(values), tables=tables)


async def _ask(
    server: Server, cell: Cell, bench: Bench, corpus: Table
) -> tuple[list[Scores] | None, list[Prompt], list[Generation]]:
    async with connect(server, bench.watch, vocabulary=bench.reference.coverage().rows) as client:
        prefill = await _prefill(client, server, corpus) if server.engine.score is not None else None
        return prefill, *(await _decode(client, server, cell, bench, corpus))


async def _prefill(client: Client, server: Server, corpus: Table) -> list[Scores]:
    # One at a time: what other requests do to an answer is a question of its own.
    return [await client.score(tuple(map(int, ids)), server.engine.max_top_k) for ids in corpus["token_ids"]]


async def _decode(
    client: Client, server: Server, cell: Cell, bench: Bench, corpus: Table
) -> tuple[list[Prompt], list[Generation]]:
    work = cell.device.workload
    scored = server.engine.max_top_k > 0
    count = work.decode_sequences * bench.look.size * (1 if scored else TEXT_FACTOR)
    prompts = _prompts(server, bench, corpus, work.decode_prompt_length)[:count]
    asks = [
        Ask(
            model=server.model,
            prompt=prompt,
            max_tokens=work.decode_tokens,
            top_k=server.engine.max_top_k if scored else 0,
            ignore_eos=True,
        )
        for prompt in prompts
    ]
    return prompts, await in_flight(IN_FLIGHT, [partial(client.generate, ask) for ask in asks])


def _prompts(server: Server, bench: Bench, corpus: Table, length: int) -> list[Prompt]:
    """Distinct openings of the corpus; for an engine that takes text, those whose text gives their ids back.

    A template may be longer than an opening: its chats would all be answered in the same way.
    """
    tokenizer = bench.reference.tokenizer()
    openings = dict.fromkeys(tuple(map(int, ids[:length])) for ids in corpus["token_ids"])
    prompts = [Prompt(token_ids=ids, text=tokenizer.decode(ids, skip_special_tokens=False)) for ids in openings]
    if server.engine.prompts == "token-ids":
        return prompts
    return [prompt for prompt in prompts if ways.retokenized(tokenizer, prompt.token_ids) == prompt.token_ids]


def decoded(
    server: Server, bench: Bench, prompts: Sequence[tuple[int, ...]], made: Sequence[Generation], name: str
) -> dict[str, Table]:
    """What the reference says of generated tokens, as `<name> reference`, and the engine where it did, as `name`.

    Texts that do not give their token ids back are left out; nothing where all are.
    """
    tokenizer = bench.reference.tokenizer()
    kept: list[tuple[tuple[int, ...], int, Scores | None]] = []
    for prompt, answer in zip(prompts, made, strict=True):
        ids = ways.generated_ids(tokenizer, prompt, answer)
        if ids is not None and not ids:
            raise EngineBrokeProtocol("generated nothing where a fixed number of tokens was asked for")
        if ids is not None:
            kept.append(((*prompt, *ids), len(prompt), answer.scores))
    if not kept:
        return {}
    lengths = [length for _, length, _ in kept]
    reference = bench.reference.score([ids for ids, _, _ in kept], lengths)
    tables = {f"{name} reference": reference | ends.never_chosen(server, len(kept))}
    scores = [found for _, _, found in kept if found is not None]
    if len(scores) == len(kept):
        width = reference["token_ids"].shape[1] - 1
        tables[name] = stack(scores, width=width, starts=[length - 1 for length in lengths])
    return tables


def stack(scores: Sequence[Scores], *, width: int, starts: Sequence[int] | None = None) -> Table:
    """Scores of sequences as [S, width(, K)], row s beginning at column starts[s]."""
    depth = max((item.top_ids.shape[1] for item in scores), default=0)
    targets = np.full((len(scores), width), np.nan)
    ids = np.full((len(scores), width, depth), -1, dtype=np.int64)
    logprobs = np.full((len(scores), width, depth), np.nan)
    for row, (item, start) in enumerate(zip(scores, starts or [0] * len(scores), strict=True)):
        columns = slice(start, start + len(item.target_logprobs))
        targets[row, columns] = item.target_logprobs
        ids[row, columns, : item.top_ids.shape[1]] = item.top_ids
        logprobs[row, columns, : item.top_ids.shape[1]] = item.top_logprobs
    return {"target_logprobs": targets, "top_ids": ids, "top_logprobs": logprobs}


def pool(first: Measurement, second: Measurement) -> Measurement:
    """Two looks as one: their sequences one after the other, their texts counted together."""
    one, other = (msgspec.convert(found.values, Correctness) for found in (first, second))
    values = msgspec.structs.replace(
        one, texts=one.texts + other.texts, unusable_texts=one.unusable_texts + other.unusable_texts
    )
    shared = {
        name: pooling.stacked(table, second.tables[name])
        for name, table in first.tables.items()
        if name in second.tables
    }
    return Measurement(values=msgspec.to_builtins(values), tables={**first.tables, **shared})


def not_asked(cell: Cell) -> str | None:
    """Why a cell is not asked; None where it is."""
    return "judged by the probe for quantized weights" if cell.config.quantization else None


SEQUENTIAL = strata.sequential(pool)

PROBE = Probe(
    name="correctness",
    version=7,
    tier="smoke",
    by_reference=True,
    order=2,
    deadline_s=1800,
    measure=measure,
    judge=strata.judge,
    not_asked=not_asked,
    of_some_configs=True,
    sequential=SEQUENTIAL,
)
