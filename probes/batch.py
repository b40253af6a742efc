"""Batch: what else an engine computes at the same time must not change an answer, nor put it in another's place.

Many distinct short prompts are asked one by one, then a few at once, then all at once, then all at once among long ones
and among requests that sample. With graph capture where the config has it, and without in the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from matrix.cells import Cell
from matrix.results import Measurement, Table
from probes import state, strata, ways
from probes.client import connect, in_flight
from probes.probe import Bench, Probe
from probes.ways import Answer, Asker, Job
from runners.engine import Generation, Server

TOKENS = 8
LENGTHS = (8, 17, 33, 64, 100)
"""Of the prompts, in turn: a batch pads or packs them."""
FEW = 4
LONG = 4
SAMPLED = 8
TEMPERATURE = 1.0
STEP = 7
"""Tokens between the beginnings of two prompts from one sequence."""
MOST_TRIES = 4
"""Times the wanted number: short sequences have few distinct parts."""

AT_ONCE = "all at once"
A_FEW = f"{FEW} at once"
MIXED = "among long and sampled requests"


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """The same prompts alone and in three kinds of company."""
    wanted = cell.device.workload.batch_sequences * bench.look.size
    asked = ways.prompts(server, bench, lambda corpus: cut(corpus, wanted))
    long = ways.prompts(server, bench, lambda corpus: state.cut(corpus, state.prompt_length(cell)))[:LONG]
    alone, found = asyncio.run(_ask(server, bench, asked, long))
    return ways.gather(server, bench, asked, alone, found)


def cut(corpus: Table, wanted: int) -> list[tuple[int, ...]]:
    """Distinct prompts from within the corpus, each with what its sequence begins with: a model may want its BOS."""
    rows = len(corpus["token_ids"])
    made: dict[tuple[int, ...], None] = {}
    for number in range(MOST_TRIES * wanted):
        length = LENGTHS[number % len(LENGTHS)]
        ids = corpus["token_ids"][number % rows, : corpus["lengths"][number % rows]].tolist()
        start = 1 + STEP * (number // rows) % max(1, len(ids) - length)
        made[(ids[0], *ids[start : start + length - 1])] = None
        if len(made) == wanted:
            break
    return list(made)


async def _ask(
    server: Server, bench: Bench, asked: Sequence[tuple[int, ...]], long: Sequence[tuple[int, ...]]
) -> tuple[list[Generation], dict[str, list[Answer]]]:
    async with connect(server, bench.watch, vocabulary=bench.reference.coverage().rows) as client:
        asker = Asker(client, server, bench.reference.tokenizer(), TOKENS)
        alone = await in_flight(1, _jobs(asker, asked, "alone"))
        found = {
            A_FEW: _answers(await in_flight(FEW, _jobs(asker, asked, "few"))),
            AT_ONCE: _answers(await in_flight(len(asked), _jobs(asker, asked, "many"))),
        }
        company = _company(asker, asked, long)
        together = await in_flight(len(asked) + len(company), [*company, *_jobs(asker, asked, "mixed")])
        found[MIXED] = _answers(together[len(company) :])
    return alone, found


def _jobs(asker: Asker, asked: Sequence[tuple[int, ...]], name: str) -> list[Job]:
    """One request a prompt, each in a namespace of its own: what is cached is no part of this question."""
    return [partial(asker.ask, ids, asker.namespace(name, i), fresh=True) for i, ids in enumerate(asked)]


def _company(asker: Asker, asked: Sequence[tuple[int, ...]], long: Sequence[tuple[int, ...]]) -> list[Job]:
    """Requests whose answers are not looked at."""
    jobs: list[Job] = [partial(asker.ask, ids, asker.namespace("long", i), fresh=True) for i, ids in enumerate(long)]
    for i, ids in enumerate(asked[:SAMPLED]):
        name = asker.namespace("sampled", i)
        jobs.append(partial(asker.ask, ids, name, fresh=True, temperature=TEMPERATURE, seed=i))
    return jobs


def _answers(made: Sequence[Generation]) -> list[Answer]:
    return [Answer(sequence=number, made=answer) for number, answer in enumerate(made)]


PROBE = Probe(
    name="batch",
    version=1,
    tier="standard",
    order=4,
    deadline_s=900,
    measure=measure,
    judge=ways.judge,
    sequential=strata.sequential(ways.pool),
)
