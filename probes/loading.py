"""Loading: ready offline, every tensor accounted for, a real request answered, healthy after it.

An engine may serve a checkpoint that lacks a weight as healthy (vLLM exempts the linear layers of unquantized models
from its own check), so what the checkpoint lacks is asked of the reference and never of the engine.
"""

from __future__ import annotations

import asyncio

import msgspec

from matrix.cells import Cell, Record
from matrix.results import Measurement, Status, Verdict
from probes.client import connect
from probes.probe import Bench, Probe
from probes.reference.stage import Coverage
from runners import http
from runners.engine import Ask, Generation, Prompt, Server

OPENING = "The capital of France is the city of"
TOKENS = 8
SHOWN = 3
"""Tensor names that fit into a sentence."""


class Loading(Record, frozen=True, kw_only=True):
    """The measurement's values."""

    launched: bool
    """False for a server that somebody else started: nothing is known of its start."""
    startup_s: float
    needed_network: bool
    coverage: Coverage
    text: str
    completion_tokens: int | None
    finish_reason: str | None
    healthy_after: bool


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """One short generation and a look at the server's health after it."""
    encoded = bench.reference.tokenizer().encode(OPENING, add_special_tokens=False)
    prompt = Prompt(token_ids=tuple(encoded.ids), text=OPENING)
    ask = Ask(model=server.model, prompt=prompt, max_tokens=TOKENS, ignore_eos=True)

    async def generate() -> Generation:
        async with connect(server, bench.watch) as client:
            return await client.generate(ask)

    answer = asyncio.run(generate())
    values = Loading(
        launched=server.log_path is not None,
        startup_s=server.startup_s,
        needed_network=server.needed_network,
        coverage=bench.reference.coverage(),
        text=answer.text,
        completion_tokens=answer.completion_tokens,
        finish_reason=answer.finish_reason,
        healthy_after=http.answers(
            server.base_url + server.engine.health_path, headers=server.headers, socket=server.socket
        ),
    )
    return Measurement(values=msgspec.to_builtins(values))


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """PASS only where nothing is missing; a checkpoint with holes must be refused, not served."""
    values = msgspec.convert(measurement.values, Loading)
    lacking = (*values.coverage.missing, *values.coverage.mismatched)
    numbers = {"startup_s": values.startup_s} if values.launched else {}
    if lacking:
        return Verdict(
            status=Status.FAIL,
            reason=f"serves a checkpoint that lacks {_listed(lacking)} as healthy",
            evidence={"tensors the checkpoint lacks": "\n".join(lacking)},
            numbers=numbers,
        )
    if not values.healthy_after:
        return Verdict(status=Status.FAIL, reason="answered a request and was not healthy after it", numbers=numbers)
    if values.completion_tokens == 0 or not values.text:
        return Verdict(status=Status.FAIL, reason="is healthy and generates nothing", numbers=numbers)
    if values.needed_network:
        reason = "becomes ready only with network access, though its model is local"
        return Verdict(status=Status.DEGRADED, reason=reason, numbers=numbers)
    ready = f"ready in {values.startup_s:.0f} s, offline" if values.launched else "already up"
    reason = f"{ready}; all {values.coverage.tensors} tensors accounted for; answered, and healthy after it"
    return Verdict(status=Status.PASS, reason=reason, evidence={"generated": values.text}, numbers=numbers)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


PROBE = Probe(name="loading", version=2, tier="smoke", order=1, deadline_s=300, measure=measure, judge=judge)
