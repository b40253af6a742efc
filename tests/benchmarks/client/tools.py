"""The tools that measure streams, each in an environment of its own: how they are called, and what they report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matrix.cells import Record
from matrix.load import PACKAGED
from probes import tables
from runners import environments
from runners.engine import SHIMS
from runners.environments import Say
from tests.token_server.serve import MODEL

REQUIREMENTS = Path(__file__).with_name("requirements")
DEADLINE_S = 300.0

ROOT = Path(__file__).parents[3]


class Load(Record, frozen=True, kw_only=True):
    """What every tool is told to ask for."""

    model: str = MODEL
    requests: int
    concurrency: int
    prompt_tokens: int
    output_tokens: int


class Said(Record, frozen=True, kw_only=True):
    """What a tool reports, in seconds; None where it does not report that, or defines it in another way."""

    output_tokens_per_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    itl_s: float | None


class Tool(Record, frozen=True, kw_only=True):
    """How one tool is called, and how its report is read; `report` is where it is told to write."""

    name: str
    command: Callable[[Path, str, str, Load, Path], tuple[str, ...]]
    """From its environment's folder, the server's URL, the tokenizer's folder, the load and the report's place."""
    read: Callable[[Path], Said]
    environment: Callable[[Say], Path]
    python_path: tuple[str, ...] = ()
    """Stand-ins that its environment needs on a CPU, as the engine of the same environment does."""


def run(tool: Tool, url: str, tokenizer: Path, wanted: Load, folder: Path, core: int | None, say: Say) -> Said:
    """One measurement by one tool, on one core or on any; raises RuntimeError with its last words."""
    home = tool.environment(say)
    folder.mkdir(parents=True)
    command = tool.command(home, url, str(tokenizer), wanted, folder)
    before = () if core is None else ("taskset", "-c", str(core))
    done = subprocess.run(
        (*before, *command), env=_variables(home, tool), cwd=ROOT, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{tool.name} exited with code {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return tool.read(folder)


def _variables(home: Path, tool: Tool) -> Mapping[str, str]:
    found = {**environments.tool_environment(), "PATH": f"{home / 'bin'}{os.pathsep}{os.defpath}"}
    return found | ({"PYTHONPATH": os.pathsep.join(tool.python_path)} if tool.python_path else {})


def _built(name: str) -> Callable[[Say], Path]:
    return lambda say: environments.build(name, REQUIREMENTS / f"{name}.txt", say=say).folder


def _vllm(say: Say) -> Path:
    release = next(release for release in tables.matrix().releases.values() if release.engine == "vllm")
    return environments.environment_of(release, PACKAGED, say).folder


# --- vLLM's -------------------------------------------------------------------------------------------------


def _vllm_command(home: Path, url: str, tokenizer: str, wanted: Load, folder: Path) -> tuple[str, ...]:
    return (
        str(home / "bin" / "vllm"), "bench", "serve", "--backend", "openai", "--base-url", url,
        "--endpoint", "/v1/completions", "--model", wanted.model, "--tokenizer", tokenizer,
        "--dataset-name", "random", "--random-input-len", str(wanted.prompt_tokens),
        "--random-output-len", str(wanted.output_tokens), "--num-prompts", str(wanted.requests),
        "--max-concurrency", str(wanted.concurrency), "--ignore-eos", "--disable-tqdm",
        "--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result", "--result-filename", str(folder / "vllm.json"),
    )  # fmt: skip


def _read_vllm(folder: Path) -> Said:
    told = _json(folder / "vllm.json")
    return Said(
        output_tokens_per_s=told["output_throughput"],
        ttft_s=told["median_ttft_ms"] / 1e3,
        tpot_s=told["median_tpot_ms"] / 1e3,
        itl_s=told["median_itl_ms"] / 1e3,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


# --- GuideLLM -----------------------------------------------------------------------------------------------


def _guidellm_command(home: Path, url: str, tokenizer: str, wanted: Load, folder: Path) -> tuple[str, ...]:
    return (
        str(home / "bin" / "guidellm"), "run",
        "--backend", f"kind=openai_http,target={url},model={wanted.model},request_format=/v1/completions",
        "--profile", f"kind=concurrent,streams={wanted.concurrency}",
        "--constraint", f"kind=max_requests,count={wanted.requests}",
        "--tokenizer", f"kind=hf_auto,model={tokenizer}",
        "--data", f"kind=synthetic_text,prompt_tokens={wanted.prompt_tokens},output_tokens={wanted.output_tokens}",
        "--output", f"kind=json,path={folder / 'guidellm.json'}", "--disable-console",
    )  # fmt: skip


def _read_guidellm(folder: Path) -> Said:
    return Said(
        output_tokens_per_s=_of_guidellm(folder)["output_tokens_per_second"]["successful"]["mean"],
        ttft_s=_median_s(folder, "time_to_first_token_ms"),
        # What it calls ITL is (end - TTFT) / (n - 1), and so TPOT here.
        tpot_s=_median_s(folder, "inter_token_latency_ms"),
        itl_s=None,
    )


def guidellm_tpot_s(folder: Path) -> float:
    """What GuideLLM calls TPOT: the first token is in it."""
    return _median_s(folder, "time_per_output_token_ms")


def _median_s(folder: Path, name: str) -> float:
    return float(_of_guidellm(folder)[name]["successful"]["median"]) / 1e3


def _of_guidellm(folder: Path) -> Any:
    return _json(folder / "guidellm.json")["benchmarks"][0]["metrics"]


# --- AIPerf -------------------------------------------------------------------------------------------------


def _aiperf_command(home: Path, url: str, tokenizer: str, wanted: Load, folder: Path) -> tuple[str, ...]:
    return (
        str(home / "bin" / "aiperf"), "profile", "--model", wanted.model, "--url", url,
        "--endpoint-type", "completions", "--streaming", "--tokenizer", tokenizer,
        "--concurrency", str(wanted.concurrency), "--request-count", str(wanted.requests),
        "--synthetic-input-tokens-mean", str(wanted.prompt_tokens), "--output-tokens-mean", str(wanted.output_tokens),
        "--extra-inputs", "ignore_eos:true", "--use-server-token-count", "--artifact-dir", str(folder / "out"),
        "--ui-type", "none", "--no-gpu-telemetry", "--no-server-metrics",
    )  # fmt: skip


def _read_aiperf(folder: Path) -> Said:
    told = _json(folder / "out" / "profile_export_aiperf.json")
    return Said(
        output_tokens_per_s=told["output_token_throughput"]["avg"],
        ttft_s=told["time_to_first_token"]["p50"] / 1e3,
        tpot_s=told["inter_token_latency"]["p50"] / 1e3,  # (end - TTFT) / (n - 1) of each request
        itl_s=told["inter_chunk_latency"]["p50"] / 1e3,
    )


# --- ours ---------------------------------------------------------------------------------------------------


def _our_command(home: Path, url: str, tokenizer: str, wanted: Load, folder: Path) -> tuple[str, ...]:
    return (
        str(home / "bin" / "python"), "-m", "tests.benchmarks.client.ours", "--url", url,
        "--requests", str(wanted.requests), "--concurrency", str(wanted.concurrency),
        "--prompt-tokens", str(wanted.prompt_tokens), "--output-tokens", str(wanted.output_tokens),
        "--report", str(folder / "ours.json"),
    )  # fmt: skip


def _read_ours(folder: Path) -> Said:
    told = _json(folder / "ours.json")
    return Said(
        output_tokens_per_s=told["output_tokens_per_s"],
        ttft_s=float(np.median([answer["ttft_s"] for answer in told["answers"]])),
        tpot_s=float(np.median([answer["tpot_s"] for answer in told["answers"]])),
        itl_s=told["itl_s"],
    )


OURS = Tool(name="this project", command=_our_command, read=_read_ours, environment=lambda say: Path(sys.prefix))
VLLM = Tool(
    name="vllm bench serve",
    command=_vllm_command,
    read=_read_vllm,
    environment=_vllm,
    python_path=tuple(str(SHIMS / name) for name in ("vllm", "cpu_torch")),
)
GUIDELLM = Tool(name="GuideLLM", command=_guidellm_command, read=_read_guidellm, environment=_built("guidellm"))
TOOLS = (
    OURS,
    VLLM,
    GUIDELLM,
    Tool(name="AIPerf", command=_aiperf_command, read=_read_aiperf, environment=_built("aiperf")),
)
