"""Throughput: streamed completions of a fixed length, tokens counted from usage or token ids, never from chunks.

Definitions (one request): TTFT = sending to the first event that carries a token; TPOT = (end - TTFT) / (n - 1), the
first token left out; prompt tokens/s = prompt tokens / TTFT. For a repeat of c requests at once: output tokens/s =
all generated tokens / (last end - first sending). Reported: median over repeats, with the median absolute deviation.
"""

from __future__ import annotations

import asyncio
import os
import time

import msgspec
import numpy as np
from tokenizers import Tokenizer

from matrix.cells import Cell, Record
from matrix.results import Measurement, Status, Verdict
from probes.client import Arrival, Client, connect, in_flight
from probes.probe import Bench, Probe
from runners.engine import Ask, Prompt, Server

WARM_UP_ROUNDS = 2
"""InferenceX warms up with twice the concurrency; the rounds pay for graph capture, JIT and autotuning."""

WARM_UP_TOKENS = 16
"""Enough to have been through prefill and decode at the concurrency that is measured."""

SEED = 20260101


class Request(Record, frozen=True, kw_only=True):
    """One streamed completion."""

    ttft_s: float
    end_s: float
    """Both from the sending of the request."""
    prompt_tokens: int | None
    usage_tokens: int | None
    """Generated tokens as the server's usage counts them."""
    id_tokens: int | None
    """Generated tokens as ids in the stream, where the engine sends ids."""
    chunks: int

    @property
    def tokens(self) -> int | None:
        """Generated tokens: ids where there are ids, usage otherwise."""
        return self.id_tokens if self.id_tokens is not None else self.usage_tokens


class Round(Record, frozen=True, kw_only=True):
    """Requests sent at once."""

    concurrency: int
    seconds: float
    requests: tuple[Request, ...]


class Throughput(Record, frozen=True, kw_only=True):
    """The measurement's values."""

    prompt_tokens: int
    output_tokens: int
    warm_up_s: float
    workers: int
    """pytest-xdist workers that shared the machine; 1 is undisturbed."""
    rounds: tuple[Round, ...]


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """Warm up, then `speed_repeats` rounds at each concurrency."""
    return asyncio.run(_measure(server, cell, bench))


async def _measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    work = cell.device.workload
    prompts = _Prompts(bench.reference.tokenizer(), work.speed_prompt_tokens)
    rounds = []
    async with connect(server, bench.watch) as client:
        started = time.monotonic()
        for _ in range(WARM_UP_ROUNDS):
            await _round(client, server, prompts, max(work.speed_concurrencies), WARM_UP_TOKENS)
        warm_up_s = time.monotonic() - started
        for concurrency in work.speed_concurrencies:
            for _ in range(work.speed_repeats):
                rounds.append(await _round(client, server, prompts, concurrency, work.speed_output_tokens))
    values = Throughput(
        prompt_tokens=work.speed_prompt_tokens,
        output_tokens=work.speed_output_tokens,
        warm_up_s=warm_up_s,
        workers=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
        rounds=tuple(rounds),
    )
    return Measurement(values=msgspec.to_builtins(values))


class _Prompts:
    """Random-token prompts, each new, so that no prefix cache can help."""

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length
        self._random = np.random.default_rng(SEED)
        special = set(tokenizer.get_added_tokens_decoder())
        self._ids = np.array([i for i in range(tokenizer.get_vocab_size()) if i not in special])

    def next(self) -> Prompt:
        ids = self._random.choice(self._ids, self._length)
        return Prompt(token_ids=tuple(map(int, ids)), text=self._tokenizer.decode(ids.tolist()))


async def _round(client: Client, server: Server, prompts: _Prompts, concurrency: int, tokens: int) -> Round:
    asks = [
        Ask(model=server.model, prompt=prompts.next(), max_tokens=tokens, ignore_eos=True, stream=True)
        for _ in range(concurrency)
    ]
    started = time.monotonic()
    streams = await in_flight(concurrency, [lambda ask=ask: client.stream(ask) for ask in asks])  # type: ignore[misc]
    seconds = time.monotonic() - started
    return Round(concurrency=concurrency, seconds=seconds, requests=tuple(_request(arrivals) for arrivals in streams))


def _request(arrivals: list[Arrival]) -> Request:
    carrying = (a.at_s for a in arrivals if a.chunk.token_ids or a.chunk.text or a.chunk.completion_tokens)
    ids = [a.chunk.token_ids for a in arrivals if a.chunk.token_ids is not None]
    prompt = [a.chunk.prompt_tokens for a in arrivals if a.chunk.prompt_tokens is not None]
    usage = [a.chunk.completion_tokens for a in arrivals if a.chunk.completion_tokens is not None]
    finished = [a.at_s for a in arrivals if a.chunk.finished]
    return Request(
        ttft_s=next(carrying, finished[-1]),
        end_s=finished[-1],
        prompt_tokens=prompt[-1] if prompt else None,
        usage_tokens=usage[-1] if usage else None,
        id_tokens=sum(map(len, ids)) if ids else None,
        chunks=len(arrivals),
    )


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """PASS where every stream delivered exactly what was asked and counted it rightly; speed has no bound yet."""
    values = msgspec.convert(measurement.values, Throughput)
    requests = [request for round in values.rounds for request in round.requests]
    wrong = next((text for request in requests if (text := _miscounted(request, values.output_tokens))), None)
    if wrong is not None:
        return Verdict(status=Status.FAIL, reason=wrong)
    if any(request.tokens is None for request in requests):
        return Verdict(status=Status.UNDECIDED, reason="the stream says neither token ids nor usage: tokens unknown")
    numbers = summary(values)
    reason = "; ".join(_sentence(numbers, concurrency) for concurrency in _concurrencies(values))
    if values.workers > 1:
        reason += f"; measured beside {values.workers - 1} other worker(s)"
    return Verdict(status=Status.PASS, reason=reason, numbers=numbers)


def _miscounted(request: Request, asked: int) -> str | None:
    ids, usage = request.id_tokens, request.usage_tokens
    if ids is not None and usage is not None and ids != usage:
        return f"usage counts {usage} generated tokens, the stream carried {ids} token ids"
    if request.tokens is not None and request.tokens != asked:
        return f"generated {request.tokens} tokens where exactly {asked} were asked for"
    return None


def _concurrencies(values: Throughput) -> list[int]:
    return sorted({round.concurrency for round in values.rounds})


def summary(values: Throughput) -> dict[str, float]:
    """Median and MAD over repeats of every speed, named `<what>_c<concurrency>` and `…_mad`."""
    numbers: dict[str, float] = {"warm_up_s": values.warm_up_s}
    for concurrency in _concurrencies(values):
        rounds = [round for round in values.rounds if round.concurrency == concurrency]
        samples = {
            "output_tokens_per_s": [_output_speed(round) for round in rounds],
            "ttft_s": [_mean([r.ttft_s for r in round.requests]) for round in rounds],
            "tpot_s": [_mean([_tpot_s(r) for r in round.requests]) for round in rounds],
            "prompt_tokens_per_s": [
                _mean([(r.prompt_tokens or values.prompt_tokens) / r.ttft_s for r in round.requests])
                for round in rounds
            ],
        }
        for name, sample in samples.items():
            middle = float(np.median(sample))
            numbers[f"{name}_c{concurrency}"] = middle
            numbers[f"{name}_c{concurrency}_mad"] = float(np.median(np.abs(np.array(sample) - middle)))
    return numbers


def _output_speed(round: Round) -> float:
    return sum(request.tokens or 0 for request in round.requests) / round.seconds


def _tpot_s(request: Request) -> float:
    return (request.end_s - request.ttft_s) / max((request.tokens or 0) - 1, 1)


def _mean(sample: list[float]) -> float:
    return float(np.mean(sample))


def _plain(value: float, digits: int) -> str:
    """Significant digits without an exponent."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _sentence(numbers: dict[str, float], concurrency: int) -> str:
    def with_spread(name: str, scale: float = 1.0) -> str:
        key = f"{name}_c{concurrency}"
        return f"{_plain(numbers[key] * scale, 3)} ± {_plain(numbers[key + '_mad'] * scale, 2)}"

    return (
        f"concurrency {concurrency}: {with_spread('output_tokens_per_s')} output tokens/s, "
        f"TTFT {with_spread('ttft_s', 1000)} ms, TPOT {with_spread('tpot_s', 1000)} ms, "
        f"{with_spread('prompt_tokens_per_s')} prompt tokens/s"
    )


def not_asked(cell: Cell) -> str | None:
    """Why a cell is not asked; None where it is."""
    return None if cell.config.speed_counts else f"speed is not measured in config {cell.config.id!r}"


PROBE = Probe(
    name="throughput",
    version=1,
    tier="smoke",
    timing=True,
    order=9,
    deadline_s=900,
    measure=measure,
    judge=judge,
    not_asked=not_asked,
)
