"""A stream as it comes off the wire: bytes with the times of their coming, and the events in them."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec

from matrix.cells import Record
from matrix.errors import EngineBrokeProtocol


@dataclass
class Sending:
    """When a request went out."""

    sent_ns: int | None = None
    """Nanoseconds of the monotonic clock."""


class Recording(Record, frozen=True, kw_only=True):
    """A stream as it came; nanoseconds of the monotonic clock."""

    sent_ns: int
    received: tuple[tuple[int, bytes], ...]


def events(received: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Any]]:
    """The JSON of each `data:` line up to `[DONE]` or the end, with the time at which its last byte came.

    Raises EngineBrokeProtocol where a line holds no JSON.
    """
    rest = b""
    at_ns = 0
    for at_ns, part in received:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.rstrip() == b"data: [DONE]":
                return
            if line.startswith(b"data:"):
                yield at_ns, _event(line)
    if rest.startswith(b"data:") and rest.rstrip() != b"data: [DONE]":
        yield at_ns, _event(rest)


def _event(line: bytes) -> Any:
    data = line.removeprefix(b"data:").strip()
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        pass
    try:
        return json.loads(data)  # takes NaN and Infinity, which are for the judge and no parse error
    except ValueError:
        raise EngineBrokeProtocol(f"a stream event is no JSON: {data[:200]!r}") from None


def tracing() -> aiohttp.TraceConfig:
    """Notes when a request's body goes out, which is later than the asking where many are asked at once."""

    async def sent(session: object, context: SimpleNamespace, params: aiohttp.TraceRequestChunkSentParams) -> None:
        if isinstance(context.trace_request_ctx, Sending):
            context.trace_request_ctx.sent_ns = time.monotonic_ns()

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(sent)
    return config


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection inside: one would stop the clock's reader for milliseconds while events arrive."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
