"""State: what an engine has kept of earlier prompts must not change what it says of this one.

The same tokens are asked cold, and then by every way that leads through what is cached: again as a whole, behind a
prefix that ends with a block or inside one, after its history was edited, piece by piece in chunks of several sizes,
after tokens that the engine itself generated, beside other requests, and after all was pushed out of the cache.
KV blocks, recurrent states and convolution windows are each taken over in these ways, and each has gone wrong in them.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np

from matrix.cells import Cell
from matrix.results import Measurement, Table
from probes import strata, ways
from probes.client import connect, in_flight
from probes.probe import Bench, Probe
from probes.ways import Answer, Asker, Job
from runners.engine import Generation, Server

TOKENS = 16
"""Generated per answer: enough to see decode go on from what was taken over."""

RE_READ = 8
"""Of the generated tokens, how many are given back as a part of the prompt."""

ALIGNED = 128
"""A prefix that ends with a block of any usual size."""
UNALIGNED = 167
"""A prefix that ends inside a block of any size: a prime number."""
KEPT, EDIT_END = 131, 171
"""What was edited: a stretch in the middle, from inside a block to inside a block."""
CHUNKS = (64, 37)
"""Sizes of the pieces; 37 is coprime to every size of block."""

NEIGHBOURS = 7
NEIGHBOUR_LENGTHS = (9, 30, 64, 120)

EVICTION = 1.25
"""Times the cache's size: so much is asked for besides, that nothing is left."""
EVICTING_AT_ONCE = 4

AGAIN = "cold again"
BESIDE = "beside other requests"
EVICTED = "after eviction"
WHOLE = "the whole prompt cached"
AFTER_ALIGNED = "behind a cached prefix of whole blocks"
AFTER_UNALIGNED = "behind a cached prefix that ends inside a block"
EDITED = "after its history was edited"
RE_PREFILLED = "decoded and given back"
HITS = (WHOLE, AFTER_ALIGNED, AFTER_UNALIGNED, EDITED, *(f"in chunks of {size}" for size in CHUNKS), RE_PREFILLED)
"""The ways that use what is cached, but for eviction, after which nothing should be."""


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """Every prompt cold and in each way that this engine and this config have."""
    length = prompt_length(cell)
    asked = ways.prompts(server, bench, lambda corpus: cut(corpus, length))
    asked = asked[: cell.device.workload.state_sequences * bench.look.size]
    caches = cell.config.prefix_cache and server.engine.caches_prefixes
    # Nobody's cache is emptied but our own engine's.
    evicting = (server.engine.cache_tokens or 0) if caches and server.log_path is not None else 0
    cold, found = asyncio.run(_ask(server, bench, asked, caches=caches, evicting=evicting))
    return ways.gather(server, bench, asked, cold, found, from_cache=(*HITS, BESIDE) if caches else ())


def prompt_length(cell: Cell) -> int:
    """Tokens of a prompt, with room for what is generated."""
    return min(cell.device.workload.state_prompt_length, cell.model.context_length - TOKENS - 1)


def cut(corpus: Table, length: int) -> list[tuple[int, ...]]:
    """Prompts of a length that sequences of the corpus are too short for: each put together from several."""
    pieces = [tuple(map(int, ids[:n])) for ids, n in zip(corpus["token_ids"], corpus["lengths"].tolist(), strict=True)]
    made = []
    for number in range(len(pieces)):
        joined: list[int] = []
        following = number
        while len(joined) < length:
            joined += pieces[following % len(pieces)][: length - len(joined)]
            following += 5  # coprime to any usual number of sequences, so that no two prompts go on alike
        made.append(tuple(joined))
    return made


async def _ask(
    server: Server, bench: Bench, asked: Sequence[tuple[int, ...]], *, caches: bool, evicting: int
) -> tuple[list[Generation], dict[str, list[Answer]]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    cold = []
    async with connect(server, bench.watch, vocabulary=bench.reference.coverage().rows) as client:
        asker = Asker(client, server, bench.reference.tokenizer(), TOKENS)
        for number, prompt in enumerate(asked):
            cold.append(await asker.ask(prompt, asker.namespace(number, "cold"), fresh=True))
            for name, answer in (await _one(asker, number, prompt, asked, cold[-1], caches=caches)).items():
                found[name].append(answer)
        if evicting:
            await _evict(asker, asked, evicting)
            for number, prompt in enumerate(asked):
                made = await asker.ask(prompt, asker.namespace(number, "again"))
                found[EVICTED].append(Answer(sequence=number, made=made))
    return cold, found


async def _one(
    asker: Asker,
    number: int,
    prompt: tuple[int, ...],
    others: Sequence[tuple[int, ...]],
    cold: Generation,
    *,
    caches: bool,
) -> dict[str, Answer]:
    """The ways of one prompt, in an order in which an engine that keeps its last sequence alone has hits too."""
    again = asker.namespace(number, "again")

    def answer(made: Generation, after: int = 0) -> Answer:
        return Answer(sequence=number, made=made, after=after)

    found = {AGAIN: answer(await asker.ask(prompt, again, fresh=True))}
    if caches:
        found[WHOLE] = answer(await asker.ask(prompt, again))
        if cold.token_ids is not None:
            given = (*prompt, *cold.token_ids[:RE_READ])
            found[RE_PREFILLED] = answer(await asker.ask(given, again, tokens=TOKENS - RE_READ), after=RE_READ)
        for name, earlier in _histories(prompt, others[number - 1]).items():
            namespace = asker.namespace(number, name)
            await asker.ask(earlier, namespace, fresh=True, tokens=1)
            found[name] = answer(await asker.ask(prompt, namespace))
        for size in CHUNKS:
            namespace = asker.namespace(number, size)
            for end in range(size, len(prompt), size):
                await asker.ask(prompt[:end], namespace, fresh=end == size, tokens=1)
            found[f"in chunks of {size}"] = answer(await asker.ask(prompt, namespace))
    found[BESIDE] = answer(await _beside(asker, number, prompt, others, again))
    return found


def _histories(prompt: tuple[int, ...], other: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """What is asked before a prompt, by the way that it makes: other prompts that begin as this one does."""
    return {
        AFTER_ALIGNED: (*prompt[:ALIGNED], *other[ALIGNED:]),
        AFTER_UNALIGNED: (*prompt[:UNALIGNED], *other[UNALIGNED:]),
        # Every later block has the same tokens of its own, behind others.
        EDITED: (*prompt[:KEPT], *other[KEPT:EDIT_END], *prompt[EDIT_END:]),
    }


async def _beside(
    asker: Asker, number: int, prompt: tuple[int, ...], others: Sequence[tuple[int, ...]], namespace: str
) -> Generation:
    """The prompt among others of several lengths, all at once."""
    neighbours = [
        others[(number + 1 + i) % len(others)][i : i + NEIGHBOUR_LENGTHS[i % len(NEIGHBOUR_LENGTHS)]]
        for i in range(NEIGHBOURS)
    ]
    jobs: list[Job] = [partial(asker.ask, prompt, namespace)]
    jobs += [
        partial(asker.ask, ids, asker.namespace(number, "neighbour", i), fresh=True) for i, ids in enumerate(neighbours)
    ]
    return (await in_flight(len(jobs), jobs))[0]


async def _evict(asker: Asker, asked: Sequence[tuple[int, ...]], tokens: int) -> None:
    """Fill the cache with other prompts, shuffled tokens of the same ones."""
    random = np.random.default_rng(0)
    count = math.ceil(EVICTION * tokens / len(asked[0]))
    shuffled = [tuple(random.permutation(asked[i % len(asked)]).tolist()) for i in range(count)]
    jobs: list[Job] = [
        partial(asker.ask, ids, asker.namespace("eviction", i), fresh=True, tokens=1) for i, ids in enumerate(shuffled)
    ]
    await in_flight(EVICTING_AT_ONCE, jobs)


PROBE = Probe(
    name="state",
    version=1,
    tier="standard",
    order=3,
    deadline_s=900,
    measure=measure,
    judge=ways.judge,
    sequential=strata.sequential(ways.pool),
)
