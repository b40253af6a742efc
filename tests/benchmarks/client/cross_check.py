"""`make bench-cross-check`: our client and GuideLLM in turns on the same real engine; writes docs/cross-check.md.

Neither knows the truth here, so what counts is whether they agree, and where they do not, by which definition.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from matrix.cells import Cell, Record
from matrix.load import Matrix
from matrix.plan import plan
from probes import tables
from probes.client import connect
from probes.loads import Prompts, streams
from probes.provenance import machine
from probes.stopwatch import Stopwatch
from probes.streamed import Streamed
from reports import markdown
from runners import prepare, venv
from runners.engine import SHIMS, Ask, Launch, Server
from runners.registry import engines
from tests.benchmarks.client.tools import GUIDELLM, Load, guidellm_tpot_s, run

PAGE = Path(__file__).parents[3] / "docs" / "cross-check.md"
ENGINES = ("vllm", "llama-cpp-python")
MODEL = "smollm2-135m-instruct"
ROUNDS = 5
LOADS = (
    Load(model=MODEL, requests=6, concurrency=1, prompt_tokens=64, output_tokens=32),
    Load(model=MODEL, requests=8, concurrency=4, prompt_tokens=64, output_tokens=32),
)


class Measured(Record, frozen=True, kw_only=True):
    """Medians of one turn."""

    output_tokens_per_s: float
    ttft_s: float
    tpot_s: float
    """Without the first token; GuideLLM calls it ITL."""
    whole_s: float
    """Latency over all tokens, which GuideLLM calls TPOT."""


class Round(Record, frozen=True, kw_only=True):
    """What both say of one load within a minute, ours twice: the machine itself is not the same from turn to turn."""

    engine: str
    load: Load
    ours: Measured
    theirs: Measured
    again: Measured
    """Ours once more."""


def main() -> None:
    """Measure and write the page."""
    matrix = tables.matrix()
    found = [one for name in ENGINES for one in of_engine(matrix, name)]
    PAGE.write_text(document(found, machine(), dt.datetime.now(dt.UTC).date()))


def of_engine(matrix: Matrix, name: str) -> list[Round]:
    """Every round on one engine, started once."""
    (planned,) = plan(matrix, "quick", [f"{name}-[0-9]*__{MODEL}__*"])
    cell = planned.cell
    source = prepare.checkpoint(matrix, cell.model, print)
    engine = engines()[name]
    prepared = prepare.in_venv(matrix, cell, engine, source, print)
    with tempfile.TemporaryDirectory() as scratch:
        spec = Launch(
            cell=cell, environment=prepared.environment, model_path=prepared.model_path, port=venv.free_port(),
            shims=SHIMS, label="benchmarks",
        )  # fmt: skip
        with venv.launch(engine, spec, Path(scratch) / "engine.log") as server:
            return list(rounds(server, cell, source.folder, Path(scratch)))


def rounds(server: Server, cell: Cell, tokenizer: Path, scratch: Path) -> list[Round]:
    """GuideLLM before ours in odd rounds, and after in even ones; a round goes before, uncounted."""
    prompts = Prompts(Tokenizer.from_file(str(tokenizer / "tokenizer.json")))
    found = []
    for number in range(-1, ROUNDS):
        for place, load in enumerate(LOADS):
            turns: dict[str, Callable[[], Measured]] = {
                "ours": partial(ours, server, prompts, load),
                "theirs": partial(theirs, server, tokenizer, load, scratch / f"{number}-{place}"),
                "again": partial(ours, server, prompts, load),
            }
            order = ("ours", "theirs", "again") if number % 2 == 0 else ("theirs", "ours", "again")
            asked = {who: turns[who]() for who in order}
            if number >= 0:
                found.append(Round(engine=cell.release.id, load=load, **asked))
                print(found[-1], flush=True)
    return found


def ours(server: Server, prompts: Prompts, load: Load) -> Measured:
    """By the throughput probe's client."""
    answers = asyncio.run(_streams(server, prompts, load))
    ends = [answer.sent_s + (answer.end_s or 0.0) for answer in answers]
    tokens = [answer.total or 0 for answer in answers]
    return Measured(
        output_tokens_per_s=sum(tokens) / (max(ends) - min(answer.sent_s for answer in answers)),
        ttft_s=float(np.median([answer.ttft_s for answer in answers])),
        tpot_s=float(np.median([answer.tpot_s for answer in answers])),
        whole_s=float(np.median([(answer.end_s or 0.0) / n for answer, n in zip(answers, tokens, strict=True)])),
    )


async def _streams(server: Server, prompts: Prompts, load: Load) -> list[Streamed]:
    asks = [
        Ask(
            model=server.model, prompt=prompts.prompt(prompts.draw(load.prompt_tokens)), max_tokens=load.output_tokens,
            ignore_eos=True, stream=True,
        )
        for _ in range(load.requests)
    ]  # fmt: skip
    async with connect(server, Stopwatch()) as client:
        return await streams(client, asks, load.concurrency)


def theirs(server: Server, tokenizer: Path, load: Load, folder: Path) -> Measured:
    """By GuideLLM, in its own environment, on whatever cores it gets."""
    said = run(GUIDELLM, server.base_url, tokenizer, load, folder, None, print)
    assert said.output_tokens_per_s is not None
    assert said.ttft_s is not None
    assert said.tpot_s is not None
    return Measured(
        output_tokens_per_s=said.output_tokens_per_s, ttft_s=said.ttft_s, tpot_s=said.tpot_s,
        whole_s=guidellm_tpot_s(folder),
    )  # fmt: skip


# --- the page -----------------------------------------------------------------------------------------------

HEAD = ("engine", "at once", "metric", "ours", "GuideLLM", "ours / GuideLLM", "ours / ours again", "alike")
METRICS: tuple[tuple[str, Callable[[Measured], float], float, str], ...] = (
    ("output tokens/s", lambda one: one.output_tokens_per_s, 1.0, ""),
    ("TTFT", lambda one: one.ttft_s, 1e3, " ms"),
    ("TPOT (GuideLLM: ITL)", lambda one: one.tpot_s, 1e3, " ms"),
    ("latency / tokens (GuideLLM: TPOT)", lambda one: one.whole_s, 1e3, " ms"),
)


def document(found: Sequence[Round], where: str, day: dt.date) -> str:
    """The page."""
    lines = [
        "# Our client beside GuideLLM on real engines",
        "",
        f"Generated by `make bench-cross-check` on {day}, {where}.",
        "",
        f"Both measure the same running server in turns, {ROUNDS} rounds after one that is not counted, who is first",
        f"alternating; {MODEL}, prompts of 64 tokens and answers of 32. Engine and client share two cores. Ratios are",
        "taken within each round: median, lowest and highest. Ours measures twice in a round, and what it differs from",
        "itself is the machine's doing; `alike` says whether the median against GuideLLM lies within that.",
        "",
        markdown.row(HEAD),
        markdown.row(["---"] * len(HEAD)),
    ]
    places = dict.fromkeys((one.engine, one.load.concurrency) for one in found)
    for engine, concurrency in places:
        rows = [one for one in found if (one.engine, one.load.concurrency) == (engine, concurrency)]
        lines += [_row(engine, concurrency, rows, *metric) for metric in METRICS]
    return "\n".join([*lines, "", *WHY]) + "\n"


WHY = (
    "What differs by definition is the word TPOT: GuideLLM's has the first token in it, and what it calls ITL is",
    "TPOT here. Like is held against like above. Where `alike` says no, no definition is left to explain it; what",
    "fits is the CPU time that each client takes from an engine on the same two cores ([client.md](client.md)),",
    "which a GPU server would not feel.",
)


def _row(
    engine: str, concurrency: int, rows: Sequence[Round], name: str,
    of: Callable[[Measured], float], scale: float, unit: str,
) -> str:  # fmt: skip
    turns = [[of(one.ours), of(one.theirs), of(one.again)] for one in rows]
    mine, other, again = np.array(turns, dtype=np.float64).T
    apart, noise = mine / other, mine / again
    alike = "yes" if noise.min() <= np.median(apart) <= noise.max() else "no"
    medians = [f"{np.median(turn) * scale:.4g}{unit}" for turn in (mine, other)]
    return markdown.row([engine, str(concurrency), name, *medians, _spread(apart), _spread(noise), alike])


def _spread(ratios: npt.NDArray[np.float64]) -> str:
    return f"{np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})"


if __name__ == "__main__":
    main()
