"""SGLang: its own `/generate` route scores given ids; the OpenAI route refuses to."""

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
    check_positions,
    check_targets,
    scores_from_rows,
)

CPU_MAX_TOTAL_TOKENS = 8192
"""Without a limit the CPU build takes some 15 GB for its KV cache."""

LACKING_ON_CPU = re.compile(
    r"Torch not compiled with CUDA enabled|\bassert .*\.is_cuda\b"
    # Its kernels for CPUs need AMX and a package of their own, for which a stand-in of ours stands here.
    r"|No module named 'sgl_kernel\.|'sgl_kernel' object has no attribute|Could not run 'sgl\w*::\w+'"
    r"|\battention backends?\b.*\bgot\b"
    # Names that its recurrent layers have on GPUs alone.
    r"|cannot import name 'causal_conv1d_fn'"
)


def command(launch: Launch) -> tuple[str, ...]:
    words = [
        "-m", "sglang.launch_server",
        "--model-path", str(launch.model_path),
        "--served-model-name", served_name(launch),
        "--host", "127.0.0.1", "--port", str(launch.port),
        "--dtype", launch.cell.dtype,  # `auto` turns float32 checkpoints into float16
        "--sampling-defaults", "openai",  # the model's own sampling defaults would change what greedy means
        "--watchdog-timeout", str(int(launch.deadline_s)), "--dist-timeout", str(int(launch.deadline_s)),
    ]  # fmt: skip
    if launch.cell.device.kind == "cpu":
        words += [
            "--device", "cpu", "--attention-backend", "torch_native", "--sampling-backend", "pytorch",
            "--max-total-tokens", str(CPU_MAX_TOTAL_TOKENS), "--max-running-requests", "8",
            "--sleep-on-idle",  # else its scheduler polls on every core that the reference needs meanwhile
        ]  # fmt: skip
    elif launch.cell.config.eager:
        words += ["--cuda-graph-backend-decode", "disabled", "--cuda-graph-backend-prefill", "disabled"]
    if launch.cell.device.accelerators > 1:
        words += ["--tp-size", str(launch.cell.device.accelerators)]
    if launch.cell.model.trust_remote_code:
        words.append("--trust-remote-code")
    if launch.cell.model.text_only:
        words.append("--skip-server-warmup")  # it would ask about an image
    if not launch.cell.config.prefix_cache:
        words.append("--disable-radix-cache")
    if launch.cell.config.prefill_chunk is not None:
        words += ["--chunked-prefill-size", str(launch.cell.config.prefill_chunk)]
    if (tools := CHAT.tool_parser(launch.cell.model)) is not None:
        words += ["--tool-call-parser", tools]
    if (reasoning := CHAT.reasoning_parser(launch.cell.model)) is not None:
        words += ["--reasoning-parser", reasoning]
    return tuple(words)


def environment(launch: Launch) -> dict[str, str]:
    # Output logprobs are those of the raw logits, as input logprobs are.
    env = {"SGLANG_RETURN_ORIGINAL_LOGPROB": "1"}
    if launch.cell.device.kind == "cpu":
        env |= {"SGLANG_USE_CPU_ENGINE": "1", "PYTHONPATH": launch.stand_ins("sglang", "cpu_torch")}
    return env


def served_name(launch: Launch) -> str:
    return launch.cell.model.id


def generate(ask: Ask) -> HttpRequest:
    sampling = {"max_new_tokens": ask.max_tokens, "temperature": ask.temperature, "ignore_eos": ask.ignore_eos}
    body: dict[str, Any] = {"input_ids": list(ask.prompt.token_ids), "sampling_params": sampling}
    if ask.temperature:
        sampling["sampling_seed"] = ask.seed
    if ask.namespace:
        body["extra_key"] = ask.namespace
    if ask.top_k:
        body |= {"return_logprob": True, "top_logprobs_num": ask.top_k}
    if ask.stream:
        body["stream"] = True
    return HttpRequest(path="/generate", body=body)


def parse_generation(answer: Json) -> Generation:
    meta = answer["meta_info"]
    scores = None
    if meta.get("output_token_logprobs"):
        check_targets(answer["output_ids"], _ids(meta["output_token_logprobs"]), first=meta["prompt_tokens"])
        scores = _scores(meta["output_token_logprobs"], meta["output_top_logprobs"])
    return Generation(
        text=answer["text"],
        token_ids=tuple(answer["output_ids"]),
        scores=scores,
        prompt_tokens=meta["prompt_tokens"],
        completion_tokens=meta["completion_tokens"],
        finish_reason=(meta["finish_reason"] or {}).get("type"),
        cached_tokens=meta.get("cached_tokens"),
    )


def parse_chunk(event: Json) -> Chunk:
    # Every event repeats the whole answer so far; only its counts are new.
    meta = event["meta_info"]
    return Chunk(
        text=event["text"],
        prompt_tokens=meta["prompt_tokens"],
        completion_tokens=meta["completion_tokens"],
        finished=meta["finish_reason"] is not None,
    )


def score(model: str, token_ids: tuple[int, ...], top_k: int) -> HttpRequest:
    body = {
        "input_ids": list(token_ids),
        "sampling_params": {"max_new_tokens": 1, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": 0,
        "top_logprobs_num": top_k,
    }
    return HttpRequest(path="/generate", body=body)


def parse_scores(answer: Json, token_ids: tuple[int, ...]) -> Scores:
    meta = answer["meta_info"]
    given = meta["input_token_logprobs"][1:]  # nothing precedes the first token
    check_targets(token_ids[1:], _ids(given), first=1)
    return _scores(given, meta["input_top_logprobs"][1:])


def _ids(targets: Json) -> list[int]:
    return [token_id for _, token_id, _ in targets]


def _scores(targets: Json, tops: Json) -> Scores:
    check_positions(len(targets), len(tops))
    rows = zip(targets, tops, strict=True)
    return scores_from_rows(
        [(target[0], [(token_id, logprob) for logprob, token_id, _ in listed]) for target, listed in rows]
    )


def version(get: Callable[[str], Json]) -> str | None:
    try:
        info = get("/server_info")
        return str(info["version"]) if "attention_backend" in info else None
    except LookupError:
        return None


CHAT = Chat(
    extra={"return_prompt_token_ids": True, "return_token_ids": True},
    prompt_ids=lambda answer: answer["choices"][0].get("prompt_token_ids"),
    token_ids=lambda answer: answer["choices"][0].get("token_ids"),
    regex=lambda expression: {"regex": expression},
    tool_formats={"hermes": "qwen"},
    reasoning_formats={"qwen3": "qwen3"},
)

ENGINE = Engine(
    name="sglang",
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
    environment_report=("-m", "sglang.check_env"),
    version=version,
    chat=CHAT,
    cache_tokens=CPU_MAX_TOTAL_TOKENS,
    registry=lambda environment: ("of_sglang",),
    formats={"awq": "bfloat16", "fp8": "fp8", "mxfp4": "bfloat16"},
    fell_back=re.compile(r"Using Transformers backend\."),
    # Its models began as copies of vLLM's and the two still share code: the same mistake in both is no coincidence, and
    # that they agree bears nothing out. The price: where these two alone can score, a wrong reference accuses both.
    lineage="vllm",
)
