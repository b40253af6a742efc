"""The server: vLLM's completion stream, its tokens sent by the clock.

`GET /log` gives what really happened: for each answer when its request was read, and for each event when it was handed
to the kernel and how many tokens it held. Times are nanoseconds of the monotonic clock, which all processes share.
`DELETE /log` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from matrix.cells import Record
from tests.token_server.log import Answer

MODEL = "clockwork"

WORD = " the"
"""One token of nearly every vocabulary, and still one beside others of its kind."""

WORD_ID = 260
"""Its id where the client asks for ids; any id would do."""

PAGES: dict[str, object] = {
    "/health": {},
    "/version": {"version": "0"},
    "/v1/models": {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests", "root": MODEL}],
    },
}

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Schedule(Record, frozen=True, kw_only=True):
    """When tokens are sent, and what is said of them."""

    ttft_s: float = 0.2
    interval_s: float = 0.008
    """Between two events, until `stall_after`."""
    tokens_per_event: int = 1
    burst: int = 1
    """Events that are held back and sent together."""
    stall_after: int = 0
    """Events before a pause; 0: none."""
    stall_s: float = 0.0
    end_after: int = 0
    """Events before the stream ends, whatever was asked for; 0: all."""
    usage: str = "right"
    """`right`, `double` or `none`."""
    ids: bool = True
    """Whether events carry token ids."""

    def events(self, tokens: int) -> Iterator[tuple[float, int]]:
        """Seconds after the request and number of tokens of each event of an answer of so many tokens."""
        events = -(-tokens // self.tokens_per_event)
        for index in range(min(events, self.end_after) if self.end_after else events):
            held = index - index % self.burst
            paused = self.stall_s if self.stall_after and index >= self.stall_after else 0.0
            left = tokens - index * self.tokens_per_event
            yield self.ttft_s + held * self.interval_s + paused, min(self.tokens_per_event, left)


class TokenServer:
    """Answers by a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._answers: list[Answer] = []
        self._events: dict[tuple[int, bool, bool], bytes] = {}

    def answer(self, head: str, body: bytes, read_ns: int, transport: asyncio.Transport) -> None:
        """Whatever is asked for; `head` is the request's first line."""
        match head.split()[:2]:
            case ["POST", "/v1/completions"]:
                _Stream(self, msgspec.json.decode(body), read_ns, transport).begin()
            case ["GET", "/log"]:
                _reply(transport, [answer.written() for answer in self._answers])
            case ["DELETE", "/log"]:
                self._answers.clear()
                _reply(transport, {})
            case ["GET", path] if path in PAGES:
                _reply(transport, PAGES[path])
            case _:
                _reply(transport, {"error": f"the token server knows no {head!r}"}, status="404 Not Found")

    def begun(self, answer: Answer) -> list[tuple[float, int]]:
        """Keep account of an answer that begins, and say when its events are due."""
        self._answers.append(answer)
        return list(self._schedule.events(answer.wanted))

    def event(self, tokens: int, *, last: bool, ids: bool) -> bytes:
        """One event as an HTTP chunk; there are few kinds, and each is made once."""
        kind = (tokens, last, ids and self._schedule.ids)
        if kind not in self._events:
            choice: dict[str, Any] = {"index": 0, "text": WORD * tokens, "logprobs": None}
            choice["finish_reason"] = "length" if last else None
            if kind[2]:
                choice["token_ids"] = [WORD_ID] * tokens
            self._events[kind] = _event({"choices": [choice]})
        return self._events[kind]

    def ending(self, answer: Answer, *, usage: bool) -> bytes:
        """What comes after the last token."""
        said = b""
        if usage and self._schedule.usage != "none":
            made = answer.total * (2 if self._schedule.usage == "double" else 1)
            asked = answer.prompt_tokens
            counts = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
            said = _event({"choices": [], "usage": counts})
        return said + _chunk(b"data: [DONE]\n\n") + _chunk(b"")


class _Stream:
    """One answer on its way: each event is sent by a timer of the loop, at once where it is late."""

    def __init__(self, server: TokenServer, body: dict[str, Any], read_ns: int, transport: asyncio.Transport) -> None:
        prompt = body["prompt"]
        ids = prompt if isinstance(prompt, list) else None
        self._server = server
        self._transport = transport
        self._ids = bool(body.get("return_token_ids"))
        self._usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._answer = Answer(
            first_id=ids[0] if ids else -1,
            prompt_tokens=len(ids) if ids else len(str(prompt).split()),
            wanted=int(body["max_tokens"]),
            read_ns=read_ns,
        )
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time() - (time.monotonic_ns() - read_ns) / 1e9

    def begin(self) -> None:
        """Send the head and set the first timer."""
        self._transport.write(STREAM_HEAD)
        self._due = self._server.begun(self._answer)
        self._next = 0
        self._loop.call_at(self._began_s + self._due[0][0], self._send)

    def _send(self) -> None:
        if self._transport.is_closing():
            return
        while self._next < len(self._due):
            due_s, tokens = self._due[self._next]
            if self._began_s + due_s > self._loop.time():
                self._loop.call_at(self._began_s + due_s, self._send)
                return
            self._next += 1
            event = self._server.event(tokens, last=self._next == len(self._due), ids=self._ids)
            self._answer.sent(time.monotonic_ns(), tokens)
            self._transport.write(event)
        self._transport.write(self._server.ending(self._answer, usage=self._usage))


class _Connection(asyncio.Protocol):
    """Requests, one after another. Their time is taken where their last byte is read, before anything is made of it."""

    def __init__(self, server: TokenServer) -> None:
        self._server = server
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The other side has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Something came; the answer is made later, so that requests behind this one are read in time."""
        read_ns = time.monotonic_ns()
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end].decode()
            length = re.search(r"(?im)^content-length: *(\d+)", head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._rest) < whole:
                return
            body, self._rest = self._rest[end + 4 : whole], self._rest[whole:]
            answer, first = self._server.answer, head.split("\r\n")[0]
            asyncio.get_running_loop().call_soon(answer, first, body, read_ns, self._transport)


def _event(content: dict[str, Any]) -> bytes:
    whole = {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": MODEL, **content}
    return _chunk(b"data: " + json.dumps(whole).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _reply(transport: asyncio.Transport, content: object, status: str = "200 OK") -> None:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    transport.write(head.encode() + body)


async def serve(schedule: Schedule, port: int) -> None:
    """Serve until ended."""
    server = TokenServer(schedule)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", port, backlog=1024)
    async with listening:
        await listening.serve_forever()


def main() -> None:
    """Serve until ended."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--schedule", default="{}", help="a Schedule as JSON")
    told = options.parse_args()
    gc.freeze()
    gc.disable()  # a collection would hold events back; what little is made here is freed by counting references
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(msgspec.json.decode(told.schedule, type=Schedule), told.port))


if __name__ == "__main__":
    main()
