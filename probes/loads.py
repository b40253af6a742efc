"""The loads under which speed is measured: who asks what, and when. Random tokens, so that no prefix cache can help."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from matrix.cells import Record, Shape
from matrix.results import Table
from probes.client import Client, in_flight
from probes.recording import quiet_collector
from probes.streamed import Streamed, streamed
from runners.engine import Ask, Prompt, Server

SEED = 20260101

COLD = -1
"""The turn that repeats nothing: a prompt as long as the last one, none of which is cached."""

WARM_UP_ROUNDS = 2
"""InferenceX warms up with twice the concurrency; the rounds pay for graph capture, JIT and autotuning."""
WARM_UP_TOKENS = 16
"""Enough to have been through prefill and decode."""


class Asked(Record, frozen=True, kw_only=True):
    """One answer, and where it belongs."""

    shape: str
    repeat: int
    turn: int
    """0 but in conversations; COLD after them."""
    answer: Streamed


class Prompts:
    """Random tokens, each prompt new."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._random = np.random.default_rng(SEED)
        special = set(tokenizer.get_added_tokens_decoder())
        self._ids = np.array([i for i in range(tokenizer.get_vocab_size()) if i not in special])

    def draw(self, length: int) -> tuple[int, ...]:
        """So many token ids."""
        return tuple(map(int, self._random.choice(self._ids, length)))

    def prompt(self, ids: Sequence[int]) -> Prompt:
        """As an engine is asked."""
        return Prompt(token_ids=tuple(ids), text=self._tokenizer.decode(list(ids)))


class Loader:
    """Puts loads on one server."""

    def __init__(self, client: Client, server: Server, prompts: Prompts) -> None:
        self._client = client
        self._server = server
        self._prompts = prompts

    async def warm_up(self, shapes: Sequence[Shape]) -> float:
        """Rounds of every concurrency that are not counted; returns seconds."""
        started = time.monotonic()
        for concurrency in sorted({shape.concurrency for shape in shapes}):
            length = max(shape.prompt_tokens for shape in shapes if shape.concurrency == concurrency)
            for _ in range(WARM_UP_ROUNDS):
                await self._together([self._prompts.draw(length) for _ in range(concurrency)], WARM_UP_TOKENS)
        return time.monotonic() - started

    async def repeat(self, shape: Shape, number: int) -> list[Asked]:
        """One repeat of a shape."""
        if shape.turns > 1:
            return await self._conversation(shape, number)
        made = await self._together(
            [self._prompts.draw(shape.prompt_tokens) for _ in range(shape.concurrency)], shape.output_tokens
        )
        return [Asked(shape=shape.id, repeat=number, turn=0, answer=answer) for answer in made]

    async def _conversation(self, shape: Shape, number: int) -> list[Asked]:
        """Conversations side by side, turn by turn, each repeating its turns so far; then cold prompts as long."""
        whole = [self._prompts.draw(shape.longest_prompt) for _ in range(shape.concurrency)]
        asked = [(turn, [ids[: (turn + 1) * shape.prompt_tokens] for ids in whole]) for turn in range(shape.turns)]
        asked.append((COLD, [self._prompts.draw(shape.longest_prompt) for _ in whole]))
        return [
            Asked(shape=shape.id, repeat=number, turn=turn, answer=answer)
            for turn, prompts in asked
            for answer in await self._together(prompts, shape.output_tokens)
        ]

    async def _together(self, prompts: Sequence[tuple[int, ...]], tokens: int) -> list[Streamed]:
        """Requests sent at once."""
        asks = [
            Ask(
                model=self._server.model,
                prompt=self._prompts.prompt(ids),
                max_tokens=tokens,
                ignore_eos=True,
                stream=True,
            )
            for ids in prompts
        ]
        return await streams(self._client, asks, len(asks))


async def streams(client: Client, asks: Sequence[Ask], at_once: int) -> list[Streamed]:
    """Answers in the order of the requests, of which so many are under way at once.

    They are read when all have ended, so that reading one holds up none.
    """
    with quiet_collector():
        recordings = await in_flight(at_once, [partial(client.record, ask) for ask in asks])
    return [
        streamed(await client.arrivals(ask, recording), recording.sent_ns / 1e9)
        for ask, recording in zip(asks, recordings, strict=True)
    ]


# --- as tables -----------------------------------------------------------------------------------------------

UNKNOWN = -1


def to_tables(asked: Sequence[Asked], shapes: Sequence[Shape]) -> dict[str, Table]:
    """Answers as arrays: `answers` with a row each [A], and `events` with a row each [sum of their events]."""
    places = {shape.id: place for place, shape in enumerate(shapes)}
    made = [one.answer for one in asked]

    def counts(values: Sequence[int | None]) -> npt.NDArray[np.int64]:
        return np.array([UNKNOWN if value is None else value for value in values], dtype=np.int64)

    answers: Table = {
        "shape": np.array([places[one.shape] for one in asked], dtype=np.int64),
        "repeat": np.array([one.repeat for one in asked], dtype=np.int64),
        "turn": np.array([one.turn for one in asked], dtype=np.int64),
        "sent_s": np.array([one.sent_s for one in made], dtype=np.float64),
        "events": np.array([len(one.at_s) for one in made], dtype=np.int64),
        "counted": np.array([one.counted for one in made], dtype=np.bool_),
        "prompt_tokens": counts([one.prompt_tokens for one in made]),
        "usage_tokens": counts([one.usage_tokens for one in made]),
        "id_tokens": counts([one.id_tokens for one in made]),
    }
    events: Table = {
        "at_s": np.array([at_s for one in made for at_s in one.at_s], dtype=np.float64),
        "tokens": np.array([tokens for one in made for tokens in one.tokens], dtype=np.int64),
    }
    return {"answers": answers, "events": events}


def from_tables(tables: dict[str, Table], shapes: Sequence[Shape]) -> list[Asked]:
    """What `to_tables` was given."""
    answers, events = tables["answers"], tables["events"]
    ends = np.cumsum(answers["events"])
    found = []
    for row, end in enumerate(ends):
        start = end - answers["events"][row]

        def count(name: str, row: int = row) -> int | None:
            value = int(answers[name][row])
            return None if value == UNKNOWN else value

        answer = Streamed(
            sent_s=float(answers["sent_s"][row]),
            at_s=tuple(map(float, events["at_s"][start:end])),
            tokens=tuple(map(int, events["tokens"][start:end])),
            counted=bool(answers["counted"][row]),
            prompt_tokens=count("prompt_tokens"),
            usage_tokens=count("usage_tokens"),
            id_tokens=count("id_tokens"),
        )
        shape = shapes[int(answers["shape"][row])].id
        found.append(
            Asked(shape=shape, repeat=int(answers["repeat"][row]), turn=int(answers["turn"][row]), answer=answer)
        )
    return found
