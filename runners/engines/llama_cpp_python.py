"""llama-cpp-python: its Python API behind a shim of ours, on a GGUF made by its own converter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runners.chat import Chat
from runners.engine import (
    Ask,
    Chunk,
    Conversion,
    Engine,
    Environment,
    Generation,
    HttpRequest,
    Json,
    Launch,
    Scores,
    scores_from_rows,
)

CONTEXT = 2048
"""The shim keeps every position's logits: 400 MB at this length for a vocabulary of 49k."""

FILE_TYPES = {"q8-0": "Q8_0", "q4-k-m": "Q4_K_M"}
OUTTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}


def command(launch: Launch) -> tuple[str, ...]:
    program = launch.shims / "llama_cpp_python" / "serve.py"
    context = min(CONTEXT, launch.cell.model.context_length)
    words = [str(program), "--model", str(launch.model_path), "--port", str(launch.port), "--context", str(context)]
    if not launch.cell.config.flash_attention:
        words.append("--exact")
    if launch.cell.config.prefill_chunk is not None:
        words += ["--chunk", str(launch.cell.config.prefill_chunk)]
    if not launch.cell.config.prefix_cache:
        words.append("--forget")
    return tuple(words)


def served_name(launch: Launch) -> str:
    return launch.cell.model.id


def sources(environment: Environment) -> Path:
    """llama.cpp's own, which the package is compiled from."""
    return environment.folder / "source" / "llama-cpp-python" / "vendor" / "llama.cpp"


def registry(environment: Environment) -> tuple[str, ...]:
    return ("of_llama_cpp", str(sources(environment)))


def convert(asked: Conversion) -> tuple[str, ...]:
    source = sources(asked.environment)
    program = asked.shims / "llama_cpp" / "convert.py"
    words = (str(program), str(source / "convert_hf_to_gguf.py"), str(asked.checkpoint))
    then = ("--quantize", FILE_TYPES[asked.quantization]) if asked.quantization else ()
    return (*words, "--outtype", OUTTYPES[asked.dtype], "--outfile", str(asked.target), *then)


def generate(ask: Ask) -> HttpRequest:
    body = {
        "token_ids": list(ask.prompt.token_ids),
        "max_tokens": ask.max_tokens,
        "top_k": ask.top_k,
        "ignore_eos": ask.ignore_eos,
        "stream": ask.stream,
        "temperature": ask.temperature,
        "seed": ask.seed,
        "reuse": not ask.fresh,
    }
    return HttpRequest(path="/generate", body=body)


def parse_generation(answer: Json) -> Generation:
    events = answer["events"]
    scored = bool(events) and "row" in events[0]
    return Generation(
        text="".join(event["text"] for event in events),
        token_ids=tuple(event["token_id"] for event in events),
        scores=_scores([event["row"] for event in events]) if scored else None,
        prompt_tokens=answer["prompt_tokens"],
        completion_tokens=len(events),
        finish_reason=events[-1]["finish_reason"] if events else None,
        cached_tokens=answer["cached_tokens"],
    )


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


def score_by_echo(model: str, token_ids: tuple[int, ...], top_k: int) -> HttpRequest:
    """The package's echoed logprobs, known to be shifted by a position; kept to show that the probe sees it."""
    return HttpRequest(path="/score", body={"token_ids": list(token_ids), "top_k": top_k, "through": "echo"})


def parse_scores(answer: Json, token_ids: tuple[int, ...]) -> Scores:
    return _scores(answer["rows"])


def _scores(rows: Json) -> Scores:
    return scores_from_rows([(row["logprob"], [(i, logprob) for i, logprob in row["top"]]) for row in rows])


def version(get: Callable[[str], Json]) -> str | None:
    try:
        answer = get("/version")
    except LookupError:
        return None
    return str(answer["version"]) if answer.get("engine") == "llama-cpp-python" else None


ENGINE = Engine(
    name="llama-cpp-python",
    weights="gguf",
    health_path="/health",
    prompts="token-ids",
    command=command,
    served_name=served_name,
    convert=convert,
    generate=generate,
    parse_generation=parse_generation,
    parse_chunk=parse_chunk,
    score=score,
    parse_scores=parse_scores,
    environment_report=(
        "-c",
        "import llama_cpp, sys; print('llama-cpp-python', llama_cpp.__version__, 'on Python', sys.version);"
        " print(llama_cpp.llama_print_system_info().decode())",
    ),
    version=version,
    chat=Chat(serves=False, schemas=False, template_arguments=False, tool_formats={}, reasoning_formats={}),
    registry=registry,
    quantizations=dict.fromkeys(FILE_TYPES, "int8"),
    formats={"fp8": "bfloat16"},  # its converter makes them dense
    cache_tokens=1,  # it keeps its last prompt alone
    lineage="llama.cpp",
)
