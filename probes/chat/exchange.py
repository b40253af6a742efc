"""What was asked over an engine's chat route and what came back: the measurement of the protocol probe."""

from __future__ import annotations

from matrix.cells import Record
from probes.chat.renders import Renders
from runners.chat import Reply


class Exchange(Record, frozen=True, kw_only=True):
    """One request, and what came back."""

    name: str
    reply: Reply | None = None
    """None where the server gave none."""
    status: int = 200
    said: str = ""
    """What it said in the place of a reply, cut short."""
    max_tokens: int = 0
    prompt_text: str | None = None
    """The prompt, where the engine tells its ids or has a route that renders it."""


class Listed(Record, frozen=True, kw_only=True):
    """The first token's logprobs at one temperature."""

    temperature: float
    logprobs: dict[int, float]


class Protocol(Record, frozen=True, kw_only=True):
    """The measurement's values. What is not asked of an engine or a model is empty, and `unasked` says why."""

    renders: Renders
    conversations: tuple[Exchange, ...] = ()
    """By their names."""
    cut: Exchange
    """A question with room for a few tokens."""
    whole: tuple[Exchange, ...]
    """The same with more room, several times alike."""
    streamed: tuple[Exchange, ...]
    """As streams."""
    decoded: str | None = None
    """The text of the ids that `whole` is said to be of, without special tokens; None where they are not told."""
    stop_texts: tuple[str, ...] = ()
    """The texts of the ids at which generation ends."""
    stop_word: str | None = None
    stopped: tuple[Exchange, ...] = ()
    """The question with a stop word out of its own answer: whole, then as a stream."""
    schema: Exchange | None = None
    regex: Exchange | None = None
    listed: tuple[Listed, ...] = ()
    """Greedy, then at a temperature."""
    bad: tuple[Exchange, ...] = ()
    afterwards: tuple[Exchange, ...] = ()
    """The question again, after the bad requests."""
    format: str | None = None
    """Of a checkpoint that says what is written down."""
    scripts: tuple[Exchange, ...] = ()
    scripts_streamed: tuple[Exchange, ...] = ()
    unasked: dict[str, str] = {}
    """What was not asked, and why."""
