"""The client of the probes: what it takes from a server, and how it says who broke off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pytest

from matrix import errors
from probes import client
from probes.client import Client, Wait, connect, in_flight
from probes.stopwatch import ENGINE, Stopwatch
from runners.engine import Ask, Prompt, Server
from tests.fake_engine import pocket
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import launched
from tests.fake_engine.serve import NOISE_SEED

T = TypeVar("T")

IDS = (5, 17, 250, 31, 8, 90)
DEADLINE_S = 1.0


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with launched(fake_engine("healthy"), tmp_path_factory.mktemp("healthy")) as server:
        yield server


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "DEATH_WATCH_S", 0.3)


def ask(
    server: Server,
    question: Callable[[Client], Awaitable[T]],
    watch: Stopwatch | None = None,
    vocabulary: int = 300,
    deadline_s: float = DEADLINE_S,
) -> T:
    """One question over a connection of its own, with a short deadline."""

    async def run() -> T:
        async with connect(server, watch or Stopwatch(), deadline_s, vocabulary) as connection:
            return await question(connection)

    return asyncio.run(run())


def wanted(tokens: int = 8, *, top_k: int = 0, stream: bool = False) -> Ask:
    prompt = Prompt(token_ids=IDS, text=" ".join(pocket.WORDS[i] for i in IDS))
    return Ask(model="pocket", prompt=prompt, max_tokens=tokens, top_k=top_k, ignore_eos=True, stream=stream)


def misbehaving(folder: Path, behaviour: str, question: Callable[[Client], Awaitable[object]]) -> Exception:
    """What a question to a misbehaving engine raises."""
    with launched(fake_engine(behaviour), folder) as server, pytest.raises(errors.ReadinessError) as caught:
        ask(server, question)
    return caught.value


def score(client: Client) -> Awaitable[object]:
    return client.score(IDS, 5)


def generate(client: Client) -> Awaitable[object]:
    return client.generate(wanted(top_k=4))


def stream(client: Client) -> Awaitable[object]:
    return client.stream(wanted(stream=True))


def test_scores_are_those_of_the_model(healthy: Server) -> None:
    """Row i holds the logprob of token i + 1 and the most likely ids after token i, most likely first."""
    scores = ask(healthy, lambda c: c.score(IDS, 5))
    truth = pocket.logprobs(IDS, seed=NOISE_SEED)[:-1]
    assert scores.target_logprobs == pytest.approx(truth[np.arange(5), IDS[1:]])
    assert np.array_equal(scores.top_ids, np.argsort(-truth, axis=1)[:, :5])


def test_a_stream_carries_what_an_answer_carries(healthy: Server) -> None:
    """Streamed or at once, the same ids come, with growing counts and one end."""
    whole = ask(healthy, lambda c: c.generate(wanted()))
    chunks = [arrival.chunk for arrival in ask(healthy, lambda c: c.stream(wanted(stream=True)))]
    assert tuple(i for chunk in chunks for i in chunk.token_ids or ()) == whole.token_ids
    assert [chunk.completion_tokens for chunk in chunks] == list(range(1, 9))
    assert [chunk.finished for chunk in chunks] == [False] * 7 + [True]


def test_arrivals_are_in_order(healthy: Server) -> None:
    """Times of arrival never run backwards."""
    times = [arrival.at_s for arrival in ask(healthy, lambda c: c.stream(wanted(stream=True)))]
    assert times == sorted(times)


def test_logprobs_of_generated_tokens_come_on_request(healthy: Server) -> None:
    """With top_k each generated token has its row; without, there are none."""
    scored = ask(healthy, lambda c: c.generate(wanted(top_k=4)))
    assert scored.scores is not None
    assert scored.scores.top_ids.shape == (8, 4)
    assert tuple(scored.scores.top_ids[:, 0]) == scored.token_ids
    assert ask(healthy, lambda c: c.generate(wanted())).scores is None


def test_waiting_counts_as_the_engines_time(healthy: Server) -> None:
    """The stopwatch holds the time of requests, under the engine's name alone."""
    watch = Stopwatch()
    ask(healthy, lambda c: c.score(IDS, 5), watch)
    assert set(watch.spent) == {ENGINE}
    assert watch.spent[ENGINE] > 0


def test_nan_reaches_the_judge(tmp_path: Path) -> None:
    """NaN in an answer is no parse error: it is kept for the judge."""
    with launched(fake_engine("nan"), tmp_path) as server:
        scores = ask(server, lambda c: c.score(IDS, 5))
    assert np.isnan(scores.target_logprobs).tolist() == [False, False, False, False, True]


@pytest.mark.parametrize("behaviour", ["stall", "stall-midway"])
def test_silence_is_a_timeout(behaviour: str, tmp_path: Path) -> None:
    """No answer, or no end of a stream, by the deadline: timed out, with the engine's log."""
    error = misbehaving(tmp_path, behaviour, lambda c: c.stream(wanted(stream=True)))
    assert type(error) is errors.EngineTimedOut
    assert str(error) == "/generate did not end within 1 s, though the process is alive"
    assert "fake engine" in error.__notes__[0]


async def alone_then_together(client: Client) -> int:
    await client.score(IDS, 5)
    return await together(client)


async def together(client: Client) -> int:
    async def after(wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await client.score(IDS, 5)

    return len(await in_flight(5, [partial(after, place / 10) for place in range(5)]))


def test_a_queue_is_slow_and_not_silent(tmp_path: Path) -> None:
    """Five answers of 1.2 s, the last asked first, with a deadline of 4 s: after one alone, more time is given."""
    with launched(fake_engine("one-by-one=1.2"), tmp_path) as server:
        assert ask(server, alone_then_together, deadline_s=4.0) == 5
        with pytest.raises(errors.EngineTimedOut) as caught:
            ask(server, together, deadline_s=4.0)
    assert str(caught.value) == "/score did not end within 4 s, though the process is alive"


def test_a_request_whose_time_is_over_is_given_no_more() -> None:
    """Another one may be sent in the moment between its time-out and its end."""

    given: list[float] = []

    async def late() -> None:
        wait = Wait(0.0)
        async with wait.bounded(0.0):
            try:
                await asyncio.Event().wait()  # ended by the time-out
            finally:
                wait.lengthen(5.0)
                given.append(wait.allowed_s)

    with pytest.raises(TimeoutError):
        asyncio.run(late())
    assert given == [0.0]


def test_a_stream_that_ends_early_breaks_the_protocol(tmp_path: Path) -> None:
    """A stream closed in good order, without a finish reason, by a server that lives."""
    error = misbehaving(tmp_path, "close-midway", lambda c: c.stream(wanted(stream=True)))
    assert type(error) is errors.EngineBrokeProtocol
    assert str(error) == "the stream ended after 3 events without a finish reason"


@pytest.mark.usefixtures("quick_watch")
def test_a_torn_stream_breaks_the_protocol(tmp_path: Path) -> None:
    """A chunked stream torn by a server that lives on."""
    error = misbehaving(tmp_path, "cut-midway", lambda c: c.stream(wanted(stream=True)))
    assert type(error) is errors.EngineBrokeProtocol
    assert "the connection broke while the server went on" in str(error)


def test_a_stream_that_ends_with_its_server_is_a_crash(tmp_path: Path) -> None:
    """However the stream closes, an engine that died of it has crashed: an exit code beats a report."""
    error = misbehaving(tmp_path, "die-midway=3", lambda c: c.stream(wanted(stream=True)))
    assert type(error) is errors.EngineCrashed
    assert str(error).startswith("exited with code 3 while serving")


def test_a_dead_server_is_explained_to_every_later_request(tmp_path: Path) -> None:
    """The second request to a dead engine is told the same story as the first."""
    with launched(fake_engine("die-on-request=0"), tmp_path) as server:
        for _ in range(2):
            with pytest.raises(errors.EngineCrashed, match="exited with code 0 while serving"):
                ask(server, lambda c: c.score(IDS, 5))


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("not-json", errors.EngineBrokeProtocol),
        ("wrong-shape", errors.Infrastructure),
        ("not-json-compliant", errors.NonFiniteAnswer),
        ("answer-400", errors.Infrastructure),
        ("answer-500", errors.EngineCrashed),
    ],
)
@pytest.mark.usefixtures("quick_watch")
def test_a_bad_answer_has_one_name(behaviour: str, kind: type[Exception], tmp_path: Path) -> None:
    """No JSON, another shape, numbers that cannot be sent, a refusal and a server error are told apart."""
    assert type(misbehaving(tmp_path, behaviour, lambda c: c.score(IDS, 5))) is kind


OUTSIDE = "outside the model's vocabulary of 300"


@pytest.mark.parametrize(
    ("behaviour", "question", "sentence"),
    [
        ("fewer-rows", score, "scores 4 positions where 5 were asked for"),
        ("more-rows", score, "scores 6 positions where 5 were asked for"),
        ("fewer-rows", generate, "gives logprobs of 7 tokens where it generated 8"),
        ("other-id", score, "its logprob at position 5 is of id 91, not of id 90"),
        ("lists-id=300", score, f"lists token id 300 at position 5, {OUTSIDE}"),
        ("lists-id=-1", score, f"lists token id -1 at position 5, {OUTSIDE}"),
        ("lists-id=-7", generate, f"lists token id -7 at position 8, {OUTSIDE}"),
        ("generates-id=300", generate, f"generates token id 300 at position 8, {OUTSIDE}"),
        ("generates-id=-1", stream, f"generates token id -1 at position 8, {OUTSIDE}"),
    ],
)
def test_an_answer_about_something_else_breaks_the_protocol(
    behaviour: str, question: Callable[[Client], Awaitable[object]], sentence: str, tmp_path: Path
) -> None:
    """Other positions than asked for, other ids, and ids that the model has no row for: each has its sentence."""
    error = misbehaving(tmp_path, behaviour, question)
    assert type(error) is errors.EngineBrokeProtocol
    assert str(error) == sentence


def test_logprobs_of_another_generated_id_break_the_protocol(tmp_path: Path) -> None:
    """A generated token's logprob must be that token's own."""
    with launched(fake_engine("other-id"), tmp_path) as server:
        third = ask(server, lambda c: c.generate(wanted())).token_ids[2]  # type: ignore[index]  # it says its ids
        with pytest.raises(errors.EngineBrokeProtocol) as caught:
            ask(server, generate)
    assert str(caught.value) == f"its logprob at position 8 is of id {third + 1}, not of id {third}"


def test_the_last_row_of_the_vocabulary_is_in_it(tmp_path: Path) -> None:
    """Ids go from nought to one less than there are rows; where the rows are not known, any id is taken."""
    with launched(fake_engine("lists-id=299"), tmp_path) as server:
        assert ask(server, lambda c: c.score(IDS, 5)).top_ids[4, 0] == 299
        with pytest.raises(errors.EngineBrokeProtocol, match="lists token id 299 at position 5"):
            ask(server, score, vocabulary=299)


@pytest.mark.usefixtures("quick_watch")
def test_a_foreign_servers_breaks_prove_nothing(tmp_path: Path) -> None:
    """Between us and a server that we did not start there may be a proxy: a torn connection is our error."""
    with launched(fake_engine("cut-midway"), tmp_path) as ours:
        foreign = msgspec.structs.replace(ours, log_path=None, exit_code=lambda: None)
        with pytest.raises(errors.Infrastructure):
            ask(foreign, lambda c: c.stream(wanted(stream=True)))


def test_the_limit_of_requests_in_flight_holds() -> None:
    """Never more at once than asked for, and the results in the order of the jobs."""
    now, most = 0, 0

    async def job(number: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return number

    jobs = [lambda number=number: job(number) for number in range(7)]
    assert asyncio.run(in_flight(3, jobs)) == list(range(7))
    assert most == 3


def test_the_first_error_ends_the_rest() -> None:
    """One failed request ends the others, and its own error comes out, not a group of errors."""
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise errors.EngineCrashed("it broke")

    with pytest.raises(errors.EngineCrashed, match="it broke"):
        asyncio.run(in_flight(3, [wait, fail, wait]))
    assert ended == [True, True]
