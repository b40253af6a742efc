"""MLX LM: its own server behind a shim of ours, which adds what that lacks: token ids, ignore_eos, a health to rely on.

With `top_logprobs` the server's own answer says of each token the id and logprob of any one of those listed, whichever
comes first: what was generated, and its logprob, stand in the shim's `token_ids` and `token_logprobs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    check_positions,
    scores_from_rows,
)


def supports(cell: Cell) -> str | None:
    if cell.dtype in (cell.model.dtype, "float32"):
        return None
    return f"mlx_lm.server has no option for a dtype: it computes in that of the checkpoint, {cell.model.dtype}"


def command(launch: Launch) -> tuple[str, ...]:
    program = launch.shims / "mlx_lm" / "serve.py"
    words = [str(program), "--model", str(launch.model_path), "--host", "127.0.0.1", "--port", str(launch.port)]
    if launch.cell.model.trust_remote_code:
        words.append("--trust-remote-code")
    if launch.cell.config.prefill_chunk is not None:
        words += ["--prefill-step-size", str(launch.cell.config.prefill_chunk)]
    if not launch.cell.config.prefix_cache:
        words += ["--prompt-cache-size", "0"]
    return tuple(words)


def environment(launch: Launch) -> dict[str, str]:
    # MLX compiles fused kernels into the folder for temporary files, where there is a g++.
    return {"MLX_DISABLE_COMPILE": "1"} if launch.cell.config.eager else {"TMPDIR": str(launch.kernels)}


def served_name(launch: Launch) -> str:
    return "default_model"  # the one that it was started with; by any other name it would load another


def generate(ask: Ask) -> HttpRequest:
    body: dict[str, Any] = {
        "model": ask.model,
        "prompt": list(ask.prompt.token_ids),
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "ignore_eos": ask.ignore_eos,
        "fresh": ask.fresh,
    }
    if ask.temperature:
        body["seed"] = ask.seed  # a request with a seed is served alone, so only those that need one have it
    if ask.top_k:
        body |= {"logprobs": True, "top_logprobs": ask.top_k}
    if ask.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return HttpRequest(path="/v1/completions", body=body)


def parse_generation(answer: Json) -> Generation:
    choice = answer["choices"][0]
    usage = answer["usage"]
    return Generation(
        text=choice["text"],
        token_ids=tuple(choice["token_ids"]),
        scores=_scores(choice) if choice.get("logprobs") else None,
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        finish_reason=choice["finish_reason"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
    )


def _scores(choice: Json) -> Scores:
    listed = [row["top_logprobs"] for row in choice["logprobs"]["content"]]
    check_positions(len(choice["token_ids"]), len(listed))
    rows = zip(choice["token_logprobs"], listed, strict=True)
    return scores_from_rows([(target, [(one["id"], one["logprob"]) for one in top]) for target, top in rows])


def parse_chunk(event: Json) -> Chunk:
    usage = event.get("usage") or {}
    if not event["choices"]:
        return Chunk(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"])
    choice = event["choices"][0]
    return Chunk(text=choice["text"], finished=choice["finish_reason"] is not None)


def version(get: Callable[[str], Json]) -> str | None:
    try:
        answer = get("/version")
    except LookupError:
        return None
    return str(answer["version"]) if answer.get("engine") == "mlx-lm" else None


ENGINE = Engine(
    name="mlx-lm",
    weights="huggingface",
    health_path="/health",
    prompts="token-ids",
    command=command,
    environment=environment,
    supports=supports,
    served_name=served_name,
    generate=generate,
    parse_generation=parse_generation,
    parse_chunk=parse_chunk,
    environment_report=(
        "-c",
        "import sys; from importlib.metadata import version; print('Python', sys.version);"
        " [print(name, version(name)) for name in ('mlx-lm', 'mlx', 'transformers')]",
    ),
    version=version,
    chat=Chat(schemas=False),
    registry=lambda environment: ("of_mlx_lm",),
    formats={"awq": "bfloat16", "mxfp4": "bfloat16"},
    dtype_of_weights=True,
    max_top_k=11,
)
