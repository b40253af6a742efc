"""The mutants' engine, as `runners/engines/` has one for every real one; its program lies in `program/`."""

from __future__ import annotations

from pathlib import Path

from probes.reference.stage import PROGRAM as REFERENCE
from runners.engine import (
    Ask,
    Chunk,
    Engine,
    Generation,
    HttpRequest,
    Json,
    Launch,
    Scores,
    check_positions,
    scores_from_rows,
)

PROGRAM = Path(__file__).parent / "program"


def command(launch: Launch) -> tuple[str, ...]:
    return (str(PROGRAM), str(REFERENCE), "--model", str(launch.model_path), "--port", str(launch.port))


def generate(ask: Ask) -> HttpRequest:
    body = {"token_ids": list(ask.prompt.token_ids), "max_tokens": ask.max_tokens, "top_k": ask.top_k}
    return HttpRequest(path="/generate", body=body)


def parse_generation(answer: Json) -> Generation:
    events = answer["events"]
    return Generation(
        text="".join(event["text"] for event in events),
        token_ids=tuple(event["token_id"] for event in events),
        scores=_scores([event["row"] for event in events]),
        prompt_tokens=answer["prompt_tokens"],
        completion_tokens=len(events),
        finish_reason=events[-1]["finish_reason"],
    )


def parse_chunk(event: Json) -> Chunk:
    raise NotImplementedError("no probe of this benchmark streams")


def score(model: str, token_ids: tuple[int, ...], top_k: int) -> HttpRequest:
    return HttpRequest(path="/score", body={"token_ids": list(token_ids), "top_k": top_k})


def parse_scores(answer: Json, token_ids: tuple[int, ...]) -> Scores:
    check_positions(len(token_ids) - 1, len(answer["rows"]))
    return _scores(answer["rows"])


def _scores(rows: Json) -> Scores:
    return scores_from_rows([(row["logprob"], [(i, logprob) for i, logprob in row["top"]]) for row in rows])


ENGINE = Engine(
    name="mutant",
    weights="huggingface",
    health_path="/health",
    prompts="token-ids",
    command=command,
    served_name=lambda launch: launch.cell.model.id,
    environment=lambda launch: {"OMP_NUM_THREADS": "1"},
    generate=generate,
    parse_generation=parse_generation,
    parse_chunk=parse_chunk,
    score=score,
    parse_scores=parse_scores,
    version=lambda get: str(get("/version")["version"]),
)
