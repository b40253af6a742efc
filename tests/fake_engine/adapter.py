"""The fake engine's file, as `runners/engines/` has one for every real engine.

`READINESS_ENGINES=tests.fake_engine.adapter` makes it known as "fake"; FAKE_ENGINE_BEHAVIOUR says how that one
misbehaves (see serve.py; separated by commas). Tests that start several use `fake_engine(…)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from matrix.cells import Cell
from runners.chat import Chat
from runners.engine import (
    Ask,
    Chunk,
    Engine,
    Generation,
    HttpRequest,
    Json,
    Launch,
    Scores,
    check_targets,
    scores_from_rows,
)

BEHAVIOUR = "FAKE_ENGINE_BEHAVIOUR"
PROGRAM = Path(__file__).with_name("serve.py")


def served_name(launch: Launch) -> str:
    return launch.cell.model.id


def generate(ask: Ask) -> HttpRequest:
    return _generate(ask, {"token_ids": list(ask.prompt.token_ids)})


def generate_from_text(ask: Ask) -> HttpRequest:
    return _generate(ask, {"text": ask.prompt.text})


def _generate(ask: Ask, prompt: dict[str, Any]) -> HttpRequest:
    body = {
        **prompt,
        "max_tokens": ask.max_tokens,
        "top_k": ask.top_k,
        "ignore_eos": ask.ignore_eos,
        "stream": ask.stream,
        "temperature": ask.temperature,
        "seed": ask.seed,
        "namespace": ask.namespace,
        "fresh": ask.fresh,
    }
    return HttpRequest(path="/generate", body=body)


def parse_generation(answer: Json) -> Generation:
    events = answer["events"]
    rows = [event["row"] for event in events if "row" in event]
    token_ids = tuple(event["token_id"] for event in events)
    if len(rows) == len(events):  # else the client says how many there are
        check_targets(token_ids, [row["id"] for row in rows], first=answer["prompt_tokens"])
    return Generation(
        text="".join(event["text"] for event in events),
        token_ids=token_ids,
        scores=_scores(rows) if rows else None,
        prompt_tokens=answer["prompt_tokens"],
        completion_tokens=answer["completion_tokens"],
        finish_reason=events[-1]["finish_reason"] if events else None,
        cached_tokens=answer.get("cached_tokens"),
    )


def parse_text(answer: Json) -> Generation:
    """The same for an engine that gives text alone."""
    return msgspec.structs.replace(parse_generation(answer), token_ids=None, scores=None)


def parse_chunk(event: Json) -> Chunk:
    return Chunk(
        text=event["text"],
        token_ids=(event["token_id"],),
        prompt_tokens=event["prompt_tokens"],
        completion_tokens=event["completion_tokens"],
        finished=event["finish_reason"] is not None,
    )


def score(model: str, token_ids: tuple[int, ...], top_k: int) -> HttpRequest:
    return HttpRequest(path="/score", body={"token_ids": list(token_ids), "top_k": top_k})


def parse_scores(answer: Json, token_ids: tuple[int, ...]) -> Scores:
    check_targets(token_ids[1:], [row["id"] for row in answer["rows"]], first=1)
    return _scores(answer["rows"])


def _scores(rows: Json) -> Scores:
    return scores_from_rows([(row["logprob"], [(i, logprob) for i, logprob in row["top"]]) for row in rows])


def version(get: Callable[[str], Json]) -> str | None:
    try:
        answer = get("/version")
    except LookupError:
        return None
    return str(answer["version"]) if answer.get("engine") == "fake" else None


CHAT = Chat(
    prompt_ids=lambda answer: answer["prompt_token_ids"],
    token_ids=lambda answer: answer["choices"][0]["token_ids"],
    regex=lambda expression: {"regex": expression},
)
TEXT_CHAT = Chat(schemas=False)


def fake_engine(
    *behaviours: str,
    environment: Mapping[str, str] | None = None,
    takes: Literal["token-ids", "text"] = "token-ids",
    supports: Callable[[Cell], str | None] = lambda cell: None,
) -> Engine:
    """An engine that misbehaves as told; `text` makes one that takes and gives text and scores nothing."""

    def command(launch: Launch) -> tuple[str, ...]:
        told = behaviours or tuple(filter(None, os.environ.get(BEHAVIOUR, "").split(",")))
        words = [word for behaviour in told for word in ("--behaviour", behaviour)]
        return (str(launch.shims / PROGRAM.name), "--port", str(launch.port), *words)

    speaks_ids = takes == "token-ids"
    return Engine(
        name="fake",
        weights="huggingface",
        health_path="/health",
        prompts=takes,
        command=command,
        environment=lambda launch: dict(environment or {}),
        served_name=served_name,
        generate=generate if speaks_ids else generate_from_text,
        parse_generation=parse_generation if speaks_ids else parse_text,
        parse_chunk=parse_chunk,
        score=score if speaks_ids else None,
        parse_scores=parse_scores if speaks_ids else None,
        supports=supports,
        version=version,
        max_top_k=20 if speaks_ids else 0,
        chat=CHAT if speaks_ids else TEXT_CHAT,
        cache_tokens=8192,
    )


ENGINE = fake_engine()
