"""`make bench-client`: every tool against the server that logs, one after another, in one table (docs/client.md).

The server has one core and each tool the other. Each tool asks twice, for few and for many requests: what the second
asks more is what its CPU time is counted on, so that starting up costs nobody anything.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx2 as httpx

from matrix.cells import Record
from probes import tables
from probes.provenance import machine
from runners import prepare
from tests.benchmarks.client import page
from tests.benchmarks.client.tools import OURS, TOOLS, Load, Said, Tool, run
from tests.token_server.log import Sent, truth
from tests.token_server.running import log, serving
from tests.token_server.serve import Schedule

STREAMS = 64
FEW, MANY = 2 * STREAMS, 8 * STREAMS
PROMPT_TOKENS = 128
OUTPUT_TOKENS = 256


class Case(Record, frozen=True, kw_only=True):
    """One schedule."""

    name: str
    schedule: Schedule


CASES = (
    Case(name="8,000 events/s, a token each", schedule=Schedule(interval_s=0.008)),
    Case(name="20,000 tokens/s, four in an event", schedule=Schedule(interval_s=0.0128, tokens_per_event=4)),
)


class Result(Record, frozen=True, kw_only=True):
    """What one tool made of one schedule."""

    case: str
    tool: str
    said: Said
    really: Said
    """The same by the server's log."""
    cpu_s_per_million_tokens: float
    worst: dict[str, float] = {}
    """Of single answers, ours alone: the largest errors, in seconds or as a share."""
    worst_of_one_round: dict[str, float] = {}
    """The same where as many requests as streams are sent, and none follows."""


def main(words: Sequence[str]) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.client", description=__doc__)
    parser.add_argument("--tool", action="append", default=[], help="one tool alone; may be repeated")
    parser.add_argument("--page", type=Path, default=page.PAGE)
    options = parser.parse_args(words)
    chosen = [tool for tool in TOOLS if tool.name in (options.tool or [tool.name for tool in TOOLS])]
    matrix = tables.matrix()
    tokenizer = prepare.checkpoint(matrix, matrix.models["smollm2-135m-instruct"], print).folder
    with tempfile.TemporaryDirectory() as folder:
        found = [
            measured(case, tool, tokenizer, Path(folder) / f"{place}-{number}")
            for place, case in enumerate(CASES)
            for number, tool in enumerate(chosen)
        ]
    options.page.write_text(page.document(found, machine(), dt.datetime.now(dt.UTC).date()))


def measured(case: Case, tool: Tool, tokenizer: Path, folder: Path) -> Result:
    """One tool, for few and for many requests, against a server of its own; ours for a single round besides."""
    server_core, tool_core = sorted(os.sched_getaffinity(0))[:2]
    with serving(case.schedule, before=("taskset", "-c", str(server_core))) as url:

        def ask(requests: int) -> tuple[Said, float, list[Sent]]:
            httpx.delete(f"{url}/log").raise_for_status()
            wanted = Load(
                requests=requests, concurrency=STREAMS, prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS
            )
            before = _children_s()
            said = run(tool, url, tokenizer, wanted, folder / str(requests), tool_core, lambda line: None)
            return said, _children_s() - before, log(url)[-requests:]

        once = page.worst(folder / str(STREAMS), ask(STREAMS)[2]) if tool is OURS else {}
        _, few_s, _ = ask(FEW)
        said, many_s, sent = ask(MANY)
    true = truth(sent)
    made = Result(
        case=case.name,
        tool=tool.name,
        said=said,
        really=Said(
            output_tokens_per_s=true.output_tokens_per_s, ttft_s=true.ttft_s, tpot_s=true.tpot_s, itl_s=true.itl_s
        ),
        cpu_s_per_million_tokens=(many_s - few_s) / ((MANY - FEW) * OUTPUT_TOKENS) * 1e6,
        worst=page.worst(folder / str(MANY), sent) if tool is OURS else {},
        worst_of_one_round=once,
    )
    print(made, flush=True)
    return made


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
