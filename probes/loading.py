"""Loading: ready offline, every tensor accounted for, a real request answered, healthy after it.

An engine may serve a checkpoint that lacks a weight as healthy (vLLM exempts the linear layers of unquantized models
from its own check), so what the checkpoint lacks is asked of the reference and never of the engine. What it has beyond
its architecture, such as a head for multi-token prediction, is told and is nobody's fault.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec

from matrix.cells import Cell, Record
from matrix.errors import WrongInput
from matrix.results import Measurement, Status, Verdict
from probes.client import connect
from probes.probe import Bench, Probe
from probes.reference.stage import Coverage, listed
from runners import failure, http
from runners.engine import Ask, Claim, Generation, Prompt, Server

OPENING = "The capital of France is the city of"
TOKENS = 8

MATTERS = re.compile(
    r"^(?P<what>.*(?:not initialized from|newly initialized|not used when initializing|missing keys|unexpected keys"
    r"|might be (?:wrong|incorrect)|may be (?:wrong|incorrect)|output .*wrong|is not supported.*ignor|will be ignored"
    r"|falling back|not calibrated|truncat|max_model_len|overflow|using a default|casting).*)$",
    re.I | re.M,
)
"""Warnings behind which engines have answered wrongly: weights left at random, settings that are ignored, a cap."""
WARNINGS_SHOWN = 20
WARNING_LENGTH = 300


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
    claim: Claim | None = None
    """What the release's own registry says; None where it was not read."""
    fell_back: bool | None = None
    """Whether it runs the model by transformers' classes, by its own log; None where it does not say."""
    warnings: tuple[str, ...] = ()
    """What its log warned of that may matter."""


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """One short generation and a look at the server's health after it.

    Raises WrongInput before anything is asked where the checkpoint is at fault: the answer would blame the engine.
    """
    coverage = bench.reference.coverage()
    if coverage.fault is not None:
        raise WrongInput(coverage.fault)
    encoded = bench.reference.tokenizer().encode(OPENING, add_special_tokens=False)
    prompt = Prompt(token_ids=tuple(encoded.ids), text=OPENING)
    ask = Ask(model=server.model, prompt=prompt, max_tokens=TOKENS, ignore_eos=True)

    async def generate() -> Generation:
        async with connect(server, bench.watch, vocabulary=coverage.rows) as client:
            return await client.generate(ask)

    answer = asyncio.run(generate())
    values = Loading(
        launched=server.log_path is not None,
        startup_s=server.startup_s,
        needed_network=server.needed_network,
        coverage=coverage,
        text=answer.text,
        completion_tokens=answer.completion_tokens,
        finish_reason=answer.finish_reason,
        healthy_after=http.answers(
            server.base_url + server.engine.health_path, headers=server.headers, socket=server.socket
        ),
        claim=server.claim,
        **_said(server),
    )
    return Measurement(values=msgspec.to_builtins(values))


def _said(server: Server) -> dict[str, Any]:
    """What the log says of how the model is run."""
    if server.log_path is None:
        return {}
    log = failure.read_log(server.log_path)
    line = server.engine.fell_back
    warnings = dict.fromkeys(found.group("what").strip()[:WARNING_LENGTH] for found in MATTERS.finditer(log))
    return {
        "fell_back": None if line is None else line.search(log) is not None,
        "warnings": tuple(warnings)[:WARNINGS_SHOWN],
    }


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """PASS only where nothing is missing; a checkpoint with holes must be refused, not served."""
    values = msgspec.convert(measurement.values, Loading)
    lacking = values.coverage.lacking
    numbers = {"startup_s": values.startup_s} if values.launched else {}
    if lacking:
        return Verdict(
            status=Status.FAIL,
            reason=f"serves a checkpoint that lacks {listed(lacking)} as healthy",
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
    evidence = {"generated": values.text}
    if values.coverage.unexpected:
        evidence["tensors that the architecture has no use for"] = "\n".join(values.coverage.unexpected)
    if values.warnings:
        evidence["warnings of its log"] = "\n".join(values.warnings)
    reason = "; ".join((reason, *_by_whom(values), *_remarks(values.coverage)))
    return Verdict(status=Status.PASS, reason=reason, evidence=evidence, numbers=numbers)


def _by_whom(values: Loading) -> tuple[str, ...]:
    """Whose code runs the model, where it is not the engine's own, and whether its registry knew."""
    remarks = []
    if values.fell_back:
        remarks.append("by transformers' classes, its log says")
    claim = values.claim
    if claim is not None and (claim.kind == "none" or (claim.kind == "native") == values.fell_back):
        remarks.append(f"though {claim.sentence}")
    return tuple(remarks)


def _remarks(coverage: Coverage) -> tuple[str, ...]:
    """What is odd about the checkpoint and harms nobody."""
    remarks = []
    if coverage.unexpected:
        remarks.append(f"the checkpoint also has {listed(coverage.unexpected)}, which its architecture has no use for")
    if coverage.largest_special_id >= coverage.rows:
        # google/gemma-3-1b-it has an image token that its text model has no row for, and no text gives it
        # (github.com/huggingface/transformers/issues/37011). Where a prompt uses such an id, the reference refuses it.
        highest = f"the tokenizer has special tokens up to id {coverage.largest_special_id}"
        remarks.append(f"{highest}, the model has {coverage.rows} rows")
    return tuple(remarks)


PROBE = Probe(name="loading", version=4, tier="smoke", order=1, deadline_s=300, measure=measure, judge=judge)
