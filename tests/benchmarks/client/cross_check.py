"""`make bench-cross-check`: our client and GuideLLM in turns on the same real engine; writes docs/cross-check.md.

Neither knows the truth here, so what counts is whether they agree, and where they do not, by which definition.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from matrix.cells import Cell, Record
from matrix.load import Matrix
from matrix.plan import plan
from probes import tables
from probes.client import connect, in_flight, quiet_collector
from probes.loads import Prompts
from probes.provenance import machine
from probes.stopwatch import Stopwatch
from probes.streamed import Streamed, streamed
from reports import markdown
from runners import prepare, venv
from runners.engine import SHIMS, Ask, Launch, Server
from runners.registry import engines
from tests.benchmarks.client.tools import GUIDELLM, Load, Said, guidellm_tpot_s, run

PAGE = Path(__file__).parents[3] / "docs" / "cross-check.md"
ENGINES = ("vllm", "llama-cpp-python")
MODEL = "smollm2-135m-instruct"
ROUNDS = 5
LOADS = (
    Load(model=MODEL, requests=8, concurrency=1, prompt_tokens=64, output_tokens=32),
    Load(model=MODEL, requests=16, concurrency=4, prompt_tokens=64, output_tokens=32),
)


class Round(Record, frozen=True, kw_only=True):
    """What both say of one load within a few seconds of each other."""

    engine: str
    load: Load
    ours: Said
    theirs: Said
    our_tpot_with_first_s: float
    """Latency over all tokens, which GuideLLM calls TPOT."""
    their_tpot_with_first_s: float


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
    """Ours first in even rounds, GuideLLM in odd ones; a round of each goes before, uncounted."""
    prompts = Prompts(Tokenizer.from_file(str(tokenizer / "tokenizer.json")))
    found = []
    for number in range(-1, ROUNDS):
        for place, load in enumerate(LOADS):
            folder = scratch / f"{number}-{place}"
            asked: dict[str, tuple[Said, float]] = {}
            turns: list[tuple[str, Callable[[], tuple[Said, float]]]] = [
                ("ours", lambda load=load: ours(server, prompts, load)),  # type: ignore[misc]
                ("theirs", lambda load=load, folder=folder: theirs(server, tokenizer, load, folder)),  # type: ignore[misc]
            ]
            for who, ask in turns if number % 2 == 0 else reversed(turns):
                asked[who] = ask()
            if number >= 0:
                made = Round(
                    engine=cell.release.id, load=load, ours=asked["ours"][0], theirs=asked["theirs"][0],
                    our_tpot_with_first_s=asked["ours"][1], their_tpot_with_first_s=asked["theirs"][1],
                )  # fmt: skip
                print(made, flush=True)
                found.append(made)
    return found


def ours(server: Server, prompts: Prompts, load: Load) -> tuple[Said, float]:
    """By the throughput probe's client."""
    answers = asyncio.run(_streams(server, prompts, load))
    ends = [answer.sent_s + (answer.end_s or 0.0) for answer in answers]
    tokens = [answer.total or 0 for answer in answers]
    said = Said(
        output_tokens_per_s=sum(tokens) / (max(ends) - min(answer.sent_s for answer in answers)),
        ttft_s=float(np.median([answer.ttft_s for answer in answers])),
        tpot_s=float(np.median([answer.tpot_s for answer in answers])),
        itl_s=None,
    )
    whole = float(np.median([(answer.end_s or 0.0) / count for answer, count in zip(answers, tokens, strict=True)]))
    return said, whole


async def _streams(server: Server, prompts: Prompts, load: Load) -> list[Streamed]:
    asks = [
        Ask(
            model=server.model, prompt=prompts.prompt(prompts.draw(load.prompt_tokens)), max_tokens=load.output_tokens,
            ignore_eos=True, stream=True,
        )
        for _ in range(load.requests)
    ]  # fmt: skip
    async with connect(server, Stopwatch()) as client:
        with quiet_collector():
            recordings = await in_flight(load.concurrency, [lambda ask=ask: client.record(ask) for ask in asks])  # type: ignore[misc]
        return [
            streamed(await client.arrivals(ask, recording), recording.sent_ns / 1e9)
            for ask, recording in zip(asks, recordings, strict=True)
        ]


def theirs(server: Server, tokenizer: Path, load: Load, folder: Path) -> tuple[Said, float]:
    """By GuideLLM, in its own environment, on whatever cores it gets."""
    said = run(GUIDELLM, server.base_url, tokenizer, load, folder, None, print)
    return said, guidellm_tpot_s(folder)


# --- the page -----------------------------------------------------------------------------------------------

HEAD = ("engine", "at once", "metric", "ours", "GuideLLM", "ours / GuideLLM, median of the rounds", "lowest to highest")
METRICS: tuple[tuple[str, Callable[[Round], tuple[float | None, float | None]], float, str], ...] = (
    ("output tokens/s", lambda one: (one.ours.output_tokens_per_s, one.theirs.output_tokens_per_s), 1.0, ""),
    ("TTFT", lambda one: (one.ours.ttft_s, one.theirs.ttft_s), 1e3, " ms"),
    ("TPOT (GuideLLM: ITL)", lambda one: (one.ours.tpot_s, one.theirs.tpot_s), 1e3, " ms"),
    (
        "latency / tokens (GuideLLM: TPOT)",
        lambda one: (one.our_tpot_with_first_s, one.their_tpot_with_first_s), 1e3, " ms",
    ),
)  # fmt: skip


def document(found: Sequence[Round], where: str, day: dt.date) -> str:
    """The page."""
    lines = [
        "# Our client beside GuideLLM on real engines",
        "",
        f"Generated by `make bench-cross-check` on {day}, {where}.",
        "",
        f"Both measure the same running server in turns, {ROUNDS} rounds after one that is not counted, who is first",
        f"alternating; {MODEL}, prompts of 64 tokens and answers of 32. A ratio is taken within each round. Engine and",
        "client share two cores, and GuideLLM runs in processes of its own.",
        "",
        markdown.row(HEAD),
        markdown.row(["---"] * len(HEAD)),
    ]
    places = dict.fromkeys((one.engine, one.load.concurrency) for one in found)
    for engine, concurrency in places:
        rows = [one for one in found if (one.engine, one.load.concurrency) == (engine, concurrency)]
        lines += [_row(engine, concurrency, rows, *metric) for metric in METRICS]
    return "\n".join(lines) + "\n"


def _row(
    engine: str,
    concurrency: int,
    rows: Sequence[Round],
    name: str,
    of: Callable[[Round], tuple[float | None, float | None]],
    scale: float,
    unit: str,
) -> str:
    pairs = np.array([of(one) for one in rows], dtype=np.float64)
    ratios = pairs[:, 0] / pairs[:, 1]
    mine, other = np.median(pairs, axis=0) * scale
    return markdown.row(
        [
            engine, str(concurrency), name, f"{mine:.3g}{unit}", f"{other:.3g}{unit}",
            f"{np.median(ratios):.3f}", f"{ratios.min():.3f} to {ratios.max():.3f}",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
