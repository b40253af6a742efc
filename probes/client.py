"""The HTTP client of the probes: every wait has a deadline and looks at the engine's process too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import aiohttp
import numpy as np

from matrix.cells import Record
from matrix.errors import (
    EngineBrokeProtocol,
    EngineCrashed,
    EngineTimedOut,
    Infrastructure,
    NonFiniteAnswer,
    ReadinessError,
)
from probes.recording import Recording, Sending, events, tracing
from probes.stopwatch import ENGINE, Stopwatch
from runners import failure
from runners.engine import Ask, Chunk, Generation, HttpRequest, Scores, Server, check_positions

T = TypeVar("T")

REQUEST_DEADLINE_S = 300.0

LONGEST_QUEUE_S = 1200.0
"""More than this a request is not given for those before it, so that a server that hangs holds up no night."""

DEATH_WATCH_S = 10.0
"""How long after a broken answer the process may take to be seen dead: a report may come before the exit does."""

STREAM_DEATH_WATCH_S = 1.0
"""The same after a stream that ended too early, which a living engine may do."""

NOT_JSON_COMPLIANT = "not JSON compliant"
"""What Python's JSON encoder says when an answer holds NaN or infinity."""


class Arrival(Record, frozen=True, kw_only=True):
    """One event of a stream."""

    chunk: Chunk
    at_s: float
    """Seconds from the sending of the request."""


class Attempt(Record, frozen=True, kw_only=True):
    """Whatever a living server answered, refusals included."""

    status: int
    body: Any
    """Decoded JSON, or text that is none; of a stream that began, its events."""


class Wait:
    """The seconds that one request may take, which become more with the requests beside it."""

    def __init__(self, deadline_s: float) -> None:
        self.allowed_s = deadline_s
        self._longest_s = deadline_s + LONGEST_QUEUE_S
        self._timeout = asyncio.timeout(None)
        self._began_s = 0.0

    @asynccontextmanager
    async def bounded(self, more_s: float) -> AsyncIterator[None]:
        """Bounds what is inside; TimeoutError once its time is over."""
        async with self._timeout:
            self._began_s = asyncio.get_running_loop().time()
            self.lengthen(more_s)
            yield

    def lengthen(self, more_s: float) -> None:
        """Give it more time, up to LONGEST_QUEUE_S in all; to one whose time is over, none."""
        if self._timeout.expired():
            return
        self.allowed_s = min(self.allowed_s + more_s, self._longest_s)
        self._timeout.reschedule(self._began_s + self.allowed_s)


class Client:
    """Asks one server; the time with at least one request under way counts as waiting for the engine."""

    def __init__(
        self,
        server: Server,
        session: aiohttp.ClientSession,
        watch: Stopwatch,
        deadline_s: float = REQUEST_DEADLINE_S,
        vocabulary: int | None = None,
    ) -> None:
        self._server = server
        self._session = session
        self._watch = watch
        self._deadline_s = deadline_s
        self._vocabulary = vocabulary
        self._sent = 0
        self._waits: list[Wait] = []
        self._alone_s = 0.0

    async def score(self, token_ids: tuple[int, ...], top_k: int) -> Scores:
        """Teacher-forced logprobs of given token ids: n-1 rows; EngineBrokeProtocol where it is no such answer."""
        engine = self._server.engine
        assert engine.score is not None
        assert engine.parse_scores is not None
        parse = engine.parse_scores
        answer = await self._post(engine.score(self._server.model, token_ids, top_k))
        scores = _parsed(lambda: parse(answer, token_ids), answer)
        check_positions(len(token_ids) - 1, len(scores.target_logprobs))
        self._check_listed(scores, first=1)
        return scores

    async def generate(self, ask: Ask) -> Generation:
        """One greedy generation; raises EngineBrokeProtocol where its ids and its logprobs cannot be the model's."""
        answer = await self._post(self._server.engine.generate(ask))
        made = _parsed(lambda: self._server.engine.parse_generation(answer), answer)
        first = len(ask.prompt.token_ids)
        self._check_generated(made.token_ids or (), first)
        if made.scores is not None:
            self._check_listed(made.scores, first)
            scored = len(made.scores.target_logprobs)
            if made.token_ids is not None and scored != len(made.token_ids):
                raise EngineBrokeProtocol(f"gives logprobs of {scored} tokens where it generated {len(made.token_ids)}")
        return made

    async def stream(self, ask: Ask) -> list[Arrival]:
        """One streamed generation; raises EngineBrokeProtocol where it ends without a finish reason."""
        return await self.arrivals(ask, await self.record(ask))

    async def record(self, ask: Ask) -> Recording:
        """One streamed generation as it comes off the wire, unread: reading one stream would hold up the others."""
        sending = Sending()
        received: list[tuple[int, bytes]] = []
        async with self._answer(self._server.engine.generate(ask), sending) as response:
            async for part in response.content.iter_any():
                received.append((time.monotonic_ns(), part))
        assert sending.sent_ns is not None, "an answer came to a request that was never sent"
        return Recording(sent_ns=sending.sent_ns, received=tuple(received))

    async def arrivals(self, ask: Ask, recording: Recording) -> list[Arrival]:
        """The events of a recorded stream; raises as `stream` does."""
        parse = self._server.engine.parse_chunk
        found = [
            Arrival(chunk=_parsed(partial(parse, event), event), at_s=(at_ns - recording.sent_ns) / 1e9)
            for at_ns, event in events(recording.received)
        ]
        if not any(arrival.chunk.finished for arrival in found):
            dead = await self._death(wait_s=STREAM_DEATH_WATCH_S)
            raise dead or EngineBrokeProtocol(f"the stream ended after {len(found)} events without a finish reason")
        made = (token_id for arrival in found for token_id in arrival.chunk.token_ids or ())
        self._check_generated(made, len(ask.prompt.token_ids))
        return found

    async def attempt(self, path: str, body: dict[str, Any] | bytes, *, stream: bool = False) -> Attempt:
        """What comes back, refusals too; raises only where the server is dead, silent or cut off."""
        async with self._response(path, body) as response:
            if stream and response.status == 200:
                return Attempt(status=200, body=[event for _, event in events([(0, await response.read())])])
            text = await response.text(errors="replace")
        if response.status >= 500 and (dead := await self._death(wait_s=STREAM_DEATH_WATCH_S)) is not None:
            raise dead
        try:
            return Attempt(status=response.status, body=json.loads(text))
        except ValueError:
            return Attempt(status=response.status, body=text)

    def parsed(self, parse: Callable[[Any], T], answer: Any) -> T:
        """What an engine's file makes of an answer."""
        return _parsed(lambda: parse(answer), answer)

    def _check_generated(self, token_ids: Iterable[int], first: int) -> None:
        for position, token_id in enumerate(token_ids, start=first):
            if self._vocabulary is not None and not 0 <= token_id < self._vocabulary:
                raise EngineBrokeProtocol(self._outside("generates", token_id, position))

    def _check_listed(self, scores: Scores, first: int) -> None:
        if self._vocabulary is None:
            return
        listed = (scores.top_ids != -1) | ~np.isnan(scores.top_logprobs)  # the others are padding
        outside = np.argwhere(listed & ((scores.top_ids < 0) | (scores.top_ids >= self._vocabulary)))
        if len(outside):
            row, column = outside[0]
            raise EngineBrokeProtocol(self._outside("lists", int(scores.top_ids[row, column]), int(row) + first))

    def _outside(self, does: str, token_id: int, position: int) -> str:
        return (
            f"{does} token id {token_id} at position {position}, outside the model's vocabulary of {self._vocabulary}"
        )

    async def _post(self, request: HttpRequest) -> Any:
        async with self._answer(request) as response:
            body = await response.read()
        try:
            return json.loads(body)  # takes NaN and Infinity, which are for the judge and no parse error
        except ValueError:
            raise EngineBrokeProtocol(f"{request.path} answered 200 with what is no JSON: {body[:200]!r}") from None

    @asynccontextmanager
    async def _answer(
        self, request: HttpRequest, sending: Sending | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The 200 answer to a request; anything else leaves as the error that says who is to blame."""
        async with self._response(request.path, request.body, sending) as response:
            if response.status != 200:
                body = await response.text(errors="replace")
                raise await self._refused(request, response.status, body)
            yield response

    @asynccontextmanager
    async def _response(
        self, path: str, body: dict[str, Any] | bytes, sending: Sending | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Any answer; none leaves as the error that says who is to blame."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        wait = Wait(self._deadline_s)
        with self._watch.on(ENGINE):
            try:
                async with (
                    self._in_queue(wait),
                    self._session.post(
                        self._server.base_url + path, data=data, headers=headers, trace_request_ctx=sending
                    ) as response,
                ):
                    yield response
            except TimeoutError:
                raise await self._silent(path, wait.allowed_s) from None
            except aiohttp.ClientError as error:
                raise await self._cut(path, error) from error

    @asynccontextmanager
    async def _in_queue(self, wait: Wait) -> AsyncIterator[None]:
        """Bounds a request: TimeoutError when it takes more than its own time and that of those beside it, each alone.

        An engine that answers one request after another, in whatever order, is slow with many of them, and not silent.
        """
        before, started = len(self._waits), time.monotonic()
        self._sent += 1
        sent = self._sent
        for other in self._waits:
            other.lengthen(self._alone_s)
        async with wait.bounded(before * self._alone_s):
            self._waits.append(wait)
            try:
                yield
            finally:
                self._waits.remove(wait)
        if not before and sent == self._sent:
            self._alone_s = max(self._alone_s, time.monotonic() - started)

    async def _silent(self, path: str, deadline_s: float) -> ReadinessError:
        late = EngineTimedOut(f"{path} did not end within {deadline_s:.0f} s, though the process is alive")
        return await self._death(wait_s=0) or self._with_log(late)

    async def _cut(self, path: str, error: aiohttp.ClientError) -> ReadinessError:
        dead = await self._death(wait_s=DEATH_WATCH_S)
        if dead is not None:
            return dead
        what = f"{path}: the connection broke while the server went on: {type(error).__name__}: {error}"
        # Between us and a server that we did not start there may be a proxy, so its breaks prove nothing.
        return self._with_log(EngineBrokeProtocol(what) if self._ours else Infrastructure(what))

    async def _refused(self, request: HttpRequest, status: int, body: str) -> ReadinessError:
        if NOT_JSON_COMPLIANT in body:
            return NonFiniteAnswer(f"{request.path} answered {status}: its logprobs are not finite: {body[:200]}")
        what = f"{request.path} answered {status}: {body[:300]}"
        if status < 500:
            return Infrastructure(f"our request was refused: {what}")
        dead = await self._death(wait_s=DEATH_WATCH_S if self._ours else 0)
        if dead is not None:
            return dead
        return self._with_log(EngineCrashed(what) if self._ours or status == 500 else Infrastructure(what))

    @property
    def _ours(self) -> bool:
        return self._server.log_path is not None

    async def _death(self, wait_s: float) -> ReadinessError | None:
        """The error for the server's process if it ended, or ends within `wait_s`."""
        end = time.monotonic() + (wait_s if self._ours else 0)
        while (code := self._server.exit_code()) is None:
            if time.monotonic() >= end:
                return None
            await asyncio.sleep(0.1)
        return failure.explain_exit(
            code, self._log(), while_doing="serving", out_of_memory=self._server.out_of_memory()
        )

    def _with_log(self, error: ReadinessError) -> ReadinessError:
        if self._ours:
            error.add_note("\n".join(self._log().splitlines()[-failure.LOG_TAIL_LINES :]))
        return error

    def _log(self) -> str:
        return failure.read_log(self._server.log_path) if self._server.log_path is not None else ""


@asynccontextmanager
async def connect(
    server: Server, watch: Stopwatch, deadline_s: float = REQUEST_DEADLINE_S, vocabulary: int | None = None
) -> AsyncIterator[Client]:
    """A client for the time of one measurement; it takes no id outside a `vocabulary` of so many rows."""
    unix = server.socket is not None
    # A connection for each request: a server may close one at any time (llama-server does after every stream, though it
    # announces to keep it), and a request that meets the closing would break without being anybody's fault.
    kept: dict[str, Any] = {"limit": 0, "force_close": True}
    connector = aiohttp.UnixConnector(str(server.socket), **kept) if unix else aiohttp.TCPConnector(**kept)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),  # the client bounds its requests itself
        headers=server.headers,
        read_bufsize=2**22,
        trace_configs=[tracing()],
    ) as session:
        yield Client(server, session, watch, deadline_s, vocabulary)


async def in_flight(limit: int, jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run coroutines with at most `limit` at once; results in order, the first error wins and ends the rest."""
    places = asyncio.Semaphore(limit)

    async def run(job: Callable[[], Awaitable[T]]) -> T:
        async with places:
            return await job()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(job)) for job in jobs]
    except* ReadinessError as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _parsed(parse: Callable[[], T], answer: Any) -> T:
    """The engine's file reads an answer. A shape it does not expect may be its own misunderstanding, so it is ours."""
    try:
        return parse()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        shown = json.dumps(answer)[:300]
        raise Infrastructure(
            f"an answer of a shape that the engine's file does not know ({type(error).__name__}: {error}): {shown}"
        ) from error
