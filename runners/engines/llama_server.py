"""llama-server: llama.cpp's own HTTP server, on a GGUF made by llama.cpp's converter."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from runners.chat import Chat
from runners.engine import (
    Ask,
    Chunk,
    Conversion,
    Engine,
    Generation,
    HttpRequest,
    Json,
    Launch,
    check_targets,
    scores_from_rows,
)
from runners.environments import PYTHON

SLOTS = 4
"""Requests that it computes at once, by default."""
CONTEXT = 8192
"""Tokens of the cache that its slots share, at most: the whole context of a large model would not fit into memory. With
less than each slot may fill, a batch ends in a refusal (500, "Context size has been exceeded")."""

OUTTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}

FINISH_REASONS = {"eos": "stop", "word": "stop", "limit": "length"}

CUT = "\N{REPLACEMENT CHARACTER}"
"""In JSON, what stands for the bytes of a character that is not whole."""


def command(launch: Launch) -> tuple[str, ...]:
    # The shim takes the words that llama-server itself takes.
    words = [
        str(launch.shims / "llama_server" / "serve.py"),
        "--model", str(launch.model_path),
        "--alias", served_name(launch),
        "--host", "127.0.0.1", "--port", str(launch.port),
        "--ctx-size", str(min(CONTEXT, SLOTS * launch.cell.model.context_length)),
    ]  # fmt: skip
    if not launch.cell.config.flash_attention:
        words += ["--flash-attn", "off", "--cache-type-k", "f32", "--cache-type-v", "f32"]
    if (chunk := launch.cell.config.prefill_chunk) is not None:
        words += ["--batch-size", str(chunk), "--ubatch-size", str(chunk)]
    if not launch.cell.config.prefix_cache:
        words.append("--no-cache-prompt")
    return tuple(words)


def served_name(launch: Launch) -> str:
    return launch.cell.model.id


def convert(asked: Conversion) -> tuple[str, ...]:
    packages = asked.environment.folder / "lib" / f"python{PYTHON}" / "site-packages"
    program = asked.shims / "llama_cpp" / "convert.py"
    words = (str(program), str(packages / "convert_hf_to_gguf.py"), str(asked.checkpoint))
    return (*words, "--outtype", OUTTYPES[asked.dtype], "--outfile", str(asked.target))


def generate(ask: Ask) -> HttpRequest:
    body: dict[str, Any] = {
        "prompt": list(ask.prompt.token_ids),
        "n_predict": ask.max_tokens,
        "n_probs": ask.top_k,
        "temperature": ask.temperature,
        "ignore_eos": ask.ignore_eos,
        "return_tokens": True,
        "stream": ask.stream,
    }
    if ask.temperature:
        body |= {"seed": ask.seed, "samplers": ["temperature"]}  # by itself it also cuts the unlikely off
    if ask.fresh:
        body["cache_prompt"] = False  # true would overrule what the server was launched with
    return HttpRequest(path="/completion", body=body)


def parse_generation(answer: Json) -> Generation:
    token_ids, scores = tuple(answer["tokens"]), None
    if answer["generation_settings"]["n_probs"]:
        rows = _rows(answer)
        token_ids = token_ids[: len(rows)]
        scores = scores_from_rows([(row["logprob"], _listed(row)) for row in rows])
    # Where not even the first id has a row, ids and their number count as not told: the answer is left out.
    lost = bool(answer["tokens"]) and not token_ids
    return Generation(
        text=answer["content"],
        token_ids=None if lost else token_ids,
        scores=None if lost else scores,
        prompt_tokens=answer["tokens_evaluated"],
        completion_tokens=None if lost else answer["tokens_predicted"],
        finish_reason=FINISH_REASONS.get(answer["stop_type"]),
        cached_tokens=answer["timings"]["cache_n"],
    )


def _rows(answer: Json) -> list[Json]:
    """The rows of the generated ids up to the first that has none.

    The server has no row for a token after which its text ends within a character; the next row, if any, has the bytes
    of them all. Such a gap begins with an id whose own bytes end so, which has no row anywhere: that is where the ids
    of rows and tokens part for the first time.
    """
    ids, rows = answer["tokens"], answer.get("completion_probabilities", [])
    whole = [row for row, _ in takewhile(lambda pair: pair[0]["id"] == pair[1], zip(rows, ids, strict=False))]
    cut = not rows[len(whole)]["token"].isascii() if len(whole) < len(rows) else answer["content"].endswith(CUT)
    if len(rows) >= len(ids) or not cut:
        check_targets(ids, [row["id"] for row in rows], first=answer["tokens_evaluated"])
    return whole


def _listed(row: Json) -> list[tuple[int, float]]:
    return [(other["id"], other["logprob"]) for other in row["top_logprobs"]]


def parse_chunk(event: Json) -> Chunk:
    # An event lists the last id of its text alone, which may be of several: only the count says how many there were.
    return Chunk(
        text=event["content"],
        prompt_tokens=event["tokens_evaluated"],
        completion_tokens=event["tokens_predicted"],
        finished=event["stop"],
    )


def version(get: Callable[[str], Json]) -> str | None:
    try:
        answer = get("/props")
    except LookupError:
        return None
    return str(answer["build_info"]) if {"build_info", "total_slots"} <= answer.keys() else None


ENGINE = Engine(
    name="llama-server",
    weights="gguf",
    health_path="/health",
    prompts="token-ids",
    command=command,
    served_name=served_name,
    convert=convert,
    foreign_converter="convert-hf-to-gguf",
    generate=generate,
    parse_generation=parse_generation,
    parse_chunk=parse_chunk,
    version=version,
    chat=Chat(render=("/apply-template", "prompt")),
    cache_tokens=CONTEXT,
    registry=lambda environment: ("of_llama_cpp",),
    formats={"fp8": "bfloat16"},  # its converter makes them dense
    lineage="llama.cpp",
)
