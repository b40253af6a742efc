"""How a model is fed: a prompt in chunks, each attending to the cache of those before it, then tokens one by one.

None of the reference's own ways: that has no cache and one sequence at a time, and its replicates cut elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

Ids = list[int]
Between = Callable[[Any], None]


class Path(NamedTuple):
    """One numeric path; every operator goes through another one, with its twin."""

    number: int
    """By which the sums of the layers are cut in parts."""
    chunk: int
    """Tokens of a prompt computed together."""


CHUNKS = (48, 33, 64, 40, 56, 36, 72, 80)
"""All longer than the lengths that scaled RoPEs were trained on: a first chunk within them takes other factors
(LongRoPE), and what follows is no rounding."""


class Feed(NamedTuple):
    """How the model is fed; with a fault, how it should not be."""

    chunk: int
    explicit: bool = False
    """Positions are given, and not counted by the model itself."""
    front: tuple[int, ...] = ()
    """Ids that are put before every prompt."""
    drop: int = 0
    """Ids that every prompt loses in front."""
    shift: int = 0
    """Added to all positions."""
    shift_later: int = 0
    """Added to the positions after the first chunk."""
    shift_decode: int = 0
    """Added to the positions of generated tokens."""
    restart: bool = False
    """Positions begin at 0 in each chunk."""
    overlap: int = 0
    """Tokens at the end of a chunk that are computed again with the next."""
    between: Between | None = None
    """Done to the cache after each chunk of a prompt but the last."""
    before_decode: Between | None = None
    """Done to the cache once, after the prompt."""


class Run:
    """One batch of sequences of one length on its way through a model."""

    def __init__(self, model: Any, feed: Feed) -> None:
        self.model, self.feed = model, feed
        self.cache: Any = None
        self.place = 0
        names = inspect.signature(model.forward).parameters
        self.cache_name = "cache_params" if "cache_params" in names else "past_key_values"

    def prompt(self, rows: Sequence[Ids]) -> Any:
        """Logits [rows, tokens, vocabulary] of whole prompts, aligned with them whatever was put before or left out."""
        feed = self.feed
        fed = [[*feed.front, *ids[feed.drop :]] for ids in rows]
        parts = []
        for start in range(0, len(fed[0]), feed.chunk):
            first = max(0, start - feed.overlap) if start else 0
            ids = torch.tensor([row[first : start + feed.chunk] for row in fed])
            logits = self._forward(ids, first, later=start > 0)
            parts.append(logits[:, start - first :])
            if feed.between is not None and start + feed.chunk < len(fed[0]):
                feed.between(self.cache)
        self.place = len(fed[0])
        logits = torch.cat(parts, 1)[:, len(feed.front) :]
        if feed.drop:
            alone = self.model(input_ids=torch.tensor([row[: feed.drop] for row in rows]), use_cache=False).logits
            logits = torch.cat([alone, logits], 1)
        return logits

    def step(self, ids: Ids) -> Any:
        """Logits [rows, vocabulary] after one more token of each."""
        logits = self._forward(torch.tensor(ids)[:, None], self.place, decode=True)
        self.place += 1
        return logits[:, -1]

    def end_of_prompt(self) -> None:
        """What happens to the cache between the prompt and the first generated token."""
        if self.feed.before_decode is not None:
            self.feed.before_decode(self.cache)

    def _forward(self, ids: Any, first: int, *, later: bool = False, decode: bool = False) -> Any:
        more: dict[str, Any] = {self.cache_name: self.cache}
        if self.feed.explicit:
            more["position_ids"] = self._positions(ids, first, later, decode)
        output = self.model(input_ids=ids, use_cache=True, **more)
        self.cache = output[self.cache_name]
        return output.logits

    def _positions(self, ids: Any, first: int, later: bool, decode: bool) -> Any:
        feed = self.feed
        start = 0 if feed.restart and later else first
        start += feed.shift + feed.shift_later * (later or decode) + feed.shift_decode * decode
        return torch.arange(start, start + ids.shape[1])[None].expand(ids.shape[0], -1)


def score(model: Any, feed: Feed, rows: Sequence[Ids]) -> Any:
    """Logits [rows, tokens, vocabulary] of given sequences of one length."""
    return Run(model, feed).prompt(rows)


def generate(model: Any, feed: Feed, rows: Sequence[Ids], count: int) -> tuple[list[Ids], Any]:
    """The likeliest tokens after prompts of one length, and the logits [rows, count, vocabulary] they were taken by."""
    run = Run(model, feed)
    logits = [run.prompt(rows)[:, -1]]
    run.end_of_prompt()
    made = [logits[0].argmax(-1).tolist()]
    for _ in range(count - 1):
        logits.append(run.step(made[-1]))
        made.append(logits[-1].argmax(-1).tolist())
    return [list(ids) for ids in zip(*made, strict=True)], torch.stack(logits, 1)


def forced(model: Any, feed: Feed, rows: Sequence[Ids], prompt: int) -> Any:
    """Logits of given sequences whose tokens beyond a prompt come one by one, as generated ones do."""
    run = Run(model, feed)
    logits = [run.prompt([row[:prompt] for row in rows])]
    run.end_of_prompt()
    for place in range(prompt, len(rows[0])):
        logits.append(run.step([row[place] for row in rows])[:, None])
    return torch.cat(logits, 1)
