"""`make bench-mutation`: which faults of an engine the microscope sees.

Writes docs/mutation-score.md and the JSON that the site reads. Starts one process for each tiny checkpoint, which
serves its mutants one after another, and judges each by the probe and the thresholds that engines are judged by. What
was judged by these very sources is not judged again.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from matrix.load import Matrix
from matrix.results import read_json, write_json
from probes import tables
from probes.checkpoints import recipes
from reports import proofs
from runners import cache
from runners.host import Host
from tests.benchmarks.mutation import page, running
from tests.benchmarks.mutation.records import JudgedCheckpoint

DOCS = Path(__file__).parents[3] / "docs"

RECIPES = (
    "llama-3.2-1b-instruct",
    "mistral-7b-v0.1",
    "phi-4-mini-instruct",
    "olmo-2-1124-7b",
    "qwen2.5-7b-instruct",
    "qwen3-32b",
    "gemma-3-1b-it",
    "gemma-4-31b-it",
    "gemma-4-e2b-it",
    "gemma-4-26b-a4b-it",
    "qwen3-30b-a3b",
    "gpt-oss-20b",
    "glm-4.5-air",
    "minimax-m2",
    "trinity-mini",
    "deepseek-v2-lite",
    "deepseek-v3.1",
    "kimi-linear-48b-a3b-instruct",
    "qwen3.6-35b-a3b",
    "olmo-hybrid-7b",
    "nvidia-nemotron-3-nano-30b-a3b-bf16",
    "falcon-h1-0.5b",
    "granite-4.0-h-small",
    "lfm2-24b-a2b",
    "llama-4-scout-17b-16e-instruct",
)
"""Dense, with windows, soft-caps or sinks; mixtures of experts; latent attention; linear attention and Mamba."""


def main(words: Sequence[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mutation", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=cache.root() / "benchmarks" / "mutation", help="keeps what is done"
    )
    parser.add_argument("--only", action="append", default=[], metavar="RECIPE", help="one checkpoint; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="checkpoints at a time")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the page goes")
    parser.add_argument("--record", type=Path, default=proofs.MUTATION_SCORE, help="the JSON that the site reads")
    parser.add_argument("--as-is", action="store_true", help="judge nothing: write the page of what is there")
    options = parser.parse_args(words)
    names = options.only or list(RECIPES)
    for name in names:
        recipes.named(name)
    matrix = tables.matrix()
    doubted = {name: reason for name in RECIPES if (reason := doubt(matrix, name)) is not None}
    asked = [name for name in names if name not in doubted]
    failed = [] if options.as_is else judge(matrix, asked, options.work, options.jobs)
    write(options.work, options.out, options.record, doubted)
    if failed:
        raise SystemExit(f"not judged: {', '.join(failed)}")


def doubt(matrix: Matrix, name: str) -> str | None:
    """Why the reference of a checkpoint is known to err, if it is: it accuses nobody, engine or mutant."""
    found = matrix.doubt(running.cell_of(matrix, name, "").id)
    return found.reason if found is not None else None


def judge(matrix: Matrix, names: Sequence[str], work: Path, jobs: int) -> list[str]:
    """Every checkpoint that these sources have not judged yet; returns those that could not be."""

    def one(name: str) -> bool:
        try:
            judge_one(matrix, name, work)
        except Exception:  # the other checkpoints are worth having
            traceback.print_exc()
            return False
        return True

    with ThreadPoolExecutor(jobs) as pool:
        return [name for name, done in zip(names, pool.map(one, names), strict=True) if not done]


def judge_one(matrix: Matrix, name: str, work: Path) -> None:
    target = work / f"{name}.json"
    if target.is_file() and read_json(target, JudgedCheckpoint).digest == running.sources(name):
        return
    environment = running.reference_environment(matrix, name)
    with Host(environment.python) as host:
        found = running.checkpoint(
            matrix, name, host, environment, lambda line: print(f"{name}: {line}", file=sys.stderr, flush=True)
        )
    work.mkdir(parents=True, exist_ok=True)
    write_json(target, found)


def write(work: Path, out: Path, record: Path, doubted: Mapping[str, str]) -> None:
    """The page and the JSON of everything that is there, less those of a doubted reference."""
    every = [read_json(path, JudgedCheckpoint) for path in sorted(work.glob("*.json"))]
    found = [one for one in every if one.recipe not in doubted]
    left_out = {**doubted, **{one.recipe: page.left_out(one, doubted[one.recipe]) for one in every if one not in found}}
    if not found:
        raise SystemExit(f"{work} holds no judged checkpoint")
    out.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    (out / "mutation-score.md").write_text(page.document(found, now, left_out))
    write_json(record, page.record(found, now))


if __name__ == "__main__":
    main(sys.argv[1:])
