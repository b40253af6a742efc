"""transformers serve: generation of text only; it takes no token ids and gives no logprobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from matrix.cells import Cell
from runners.chat import Chat
from runners.engine import Ask, Chunk, Engine, Generation, HttpRequest, Json, Launch


def supports(cell: Cell) -> str | None:
    return "it computes every prompt as a whole" if cell.config.prefill_chunk is not None else None


def command(launch: Launch) -> tuple[str, ...]:
    words = [
        "-m", "transformers.cli.transformers", "serve", str(launch.model_path),
        "--host", "127.0.0.1", "--port", str(launch.port),
        "--dtype", launch.cell.dtype,
        "--device", "cpu" if launch.cell.device.kind == "cpu" else "auto",
    ]  # fmt: skip
    if launch.cell.model.trust_remote_code:
        words.append("--trust-remote-code")
    if not launch.cell.config.flash_attention:
        words += ["--attn-implementation", "eager"]
    return tuple(words)


def environment(launch: Launch) -> dict[str, str]:
    return {"PYTHONPATH": launch.stand_ins("cpu_torch")} if launch.cell.device.kind == "cpu" else {}


def served_name(launch: Launch) -> str:
    return str(launch.model_path)


def generate(ask: Ask) -> HttpRequest:
    # `generation_config` is the only way to ask for a fixed number of tokens: there is no ignore_eos.
    generation: dict[str, Any] = {"do_sample": ask.temperature > 0, "max_new_tokens": ask.max_tokens}
    if ask.temperature:
        generation["temperature"] = ask.temperature
    if ask.ignore_eos:  # masks the ends of the model, as `masks_ends` says below
        generation["min_new_tokens"] = ask.max_tokens
    body = {
        "model": ask.model,
        "prompt": ask.prompt.text,
        "max_tokens": ask.max_tokens,
        "generation_config": json.dumps(generation),
        "stream": ask.stream,
        "seed": ask.seed,
    }
    return HttpRequest(path="/v1/completions", body=body)


def parse_generation(answer: Json) -> Generation:
    choice = answer["choices"][0]
    usage = answer["usage"]
    return Generation(
        text=choice["text"],
        token_ids=None,
        scores=None,
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        finish_reason=choice["finish_reason"],
    )


def parse_chunk(event: Json) -> Chunk:
    choice = event["choices"][0]
    usage = event.get("usage") or {}
    return Chunk(
        text=choice.get("text") or "",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        finished=choice.get("finish_reason") is not None,  # events leave out what is null
    )


def version(get: Callable[[str], Json]) -> str | None:
    return None  # the server has no version route


ENGINE = Engine(
    name="transformers",
    weights="huggingface",
    health_path="/health",
    prompts="text",
    masks_ends=True,
    command=command,
    supports=supports,
    served_name=served_name,
    generate=generate,
    parse_generation=parse_generation,
    parse_chunk=parse_chunk,
    environment_report=("-m", "transformers.cli.transformers", "env"),
    version=version,
    chat=Chat(schemas=False),
    environment=environment,
    max_top_k=0,
    registry=lambda environment: ("of_transformers",),
    formats={"fp8": "fp8", "mxfp4": "bfloat16"},
    caches_prefixes=False,  # only in continuous batching, which it is not started with
)
