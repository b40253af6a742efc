"""`make bench-verdict`: how often the verdict is right.

Writes docs/verdict-power.md, its pictures and the JSON that the site reads. Makes what is missing of the data (hours on
two cores, in the reference's environment), judges what was not judged yet by this very code (minutes), and writes the
page.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matrix.load import Matrix
from matrix.results import write_json
from probes import tables
from probes.reference.stage import PROGRAM
from reports import proofs
from runners import cache, prepare
from runners.engine import OFFLINE
from tests.benchmarks.verdict import engines, judging, page, pictures, power, replicates, units

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
CORPUS = ROOT / "probes" / "prompts" / "corpus.toml"


class Plan(NamedTuple):
    """How much is made of one model."""

    model: str
    sequences: int
    fault_sequences: int
    healthy: int
    settled: int
    """Healthy paths that were known when the rule took its present form; later ones had no part in it."""


PLANS = (
    Plan("smollm2-135m-instruct", 256, 64, 75, settled=55),
    Plan("gemma-3-270m", 128, 64, 28, settled=16),
)
"""1,424 healthy sets of 16 sequences together."""


def main(words: Sequence[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.verdict", description=__doc__)
    parser.add_argument("--data", type=Path, default=cache.root() / "benchmarks" / "verdict")
    parser.add_argument("--engines", type=Path, action="append", default=[], help="a folder of a run; may be repeated")
    parser.add_argument("--out", type=Path, default=DOCS, help="where page and pictures go")
    parser.add_argument("--record", type=Path, default=proofs.VERDICT_POWER, help="the JSON that the site reads")
    parser.add_argument("--as-is", action="store_true", help="make no data: judge what is there")
    parser.add_argument("--sizes", type=int, nargs="+", default=units.SIZES, help="sequences of a set")
    options = parser.parse_args(words)
    if not options.as_is:
        make(options.data)
    write(gather(options.data, options.sizes, options.engines), options.out, options.record)


def make(data: Path) -> None:
    """Have the program make every run that is not there."""
    matrix = tables.matrix()
    for plan in PLANS:
        make_one(matrix, plan, data / plan.model)


def make_one(matrix: Matrix, plan: Plan, folder: Path) -> None:
    model = matrix.models[plan.model]
    python = prepare.reference_environment(matrix, model).python
    checkpoint = prepare.checkpoint(matrix, model, lambda line: print(line, file=sys.stderr)).folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(python), "-m", "tests.benchmarks.verdict.program", str(checkpoint), str(folder.resolve()),
        "--reference", str(PROGRAM), "--corpus", str(CORPUS), "--sequences", str(plan.sequences),
        "--fault-sequences", str(plan.fault_sequences), "--healthy", str(plan.healthy),
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, env={**os.environ, **OFFLINE}, check=True)  # says how far it is by itself


def gather(data: Path, sizes: Sequence[int], runs: Sequence[Path]) -> page.Everything:
    """Judge every model below `data` and every run of real engines."""
    folders = [folder for plan in PLANS if (folder := data / plan.model).is_dir()]
    models = tuple(judging.judged(folder, sizes) for folder in folders)
    if not models:
        raise SystemExit(f"{data} holds no model of {', '.join(plan.model for plan in PLANS)}")
    return page.Everything(
        models=models,
        powers=tuple(power.summed(model.name, [model]) for model in models),
        replicates=tuple(power.looks(replicates.looks(folder, sizes[0])) for folder in folders),
        together=power.summed(page.TOGETHER, models),
        later=tuple(power.later(model, plan.settled) for model in models for plan in PLANS if plan.model == model.name),
        engines=tuple(engines.units_of(runs)),
    )


def write(found: page.Everything, out: Path, record: Path) -> None:
    """The page and its pictures, and what the site says of them."""
    out.mkdir(parents=True, exist_ok=True)
    for one in found.powers:
        (out / f"verdict-power-{one.name}.svg").write_bytes(pictures.power(one))
    for one in (*found.powers, found.together):
        (out / f"verdict-curves-{one.name}.svg").write_bytes(pictures.curves(one))
    now = dt.datetime.now(dt.UTC)
    write_json(record, power.record(found.powers, now))
    text = page.document(found, now)
    print(text)
    (out / "verdict-power.md").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
