"""`make bench-faults`: public faults of new models, and which of them the probes catch.

Writes docs/fault-coverage.md. Every mechanism of mechanisms.py is shown to its probe, each beside its null twin; then
healthy engines are asked over many distinct corpora. What is done is kept, and done again only where it is asked for.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from matrix.plan import plan
from matrix.results import read_json, write_json
from probes import tables
from runners import cache
from tests.benchmarks.faults import alarms, mechanisms, page
from tests.benchmarks.faults.page import Alarms, Row

ROWS = Path(__file__).with_name("rows.toml")
DOCS = Path(__file__).parents[3] / "docs"
HEALTHY = ("standard-float32", "microscope-robust")
"""Profiles of healthy cells: a small real model, and six tiny checkpoints."""
CORPORA = 20


def main(words: Sequence[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults", description=__doc__)
    parser.add_argument("--work", type=Path, default=cache.root() / "benchmarks" / "faults", help="keeps what is done")
    parser.add_argument(
        "--only", choices=("mechanisms", "healthy", "page"), help="one part; the page is written always"
    )
    parser.add_argument("--select", action="append", default=[], metavar="GLOB", help="healthy cells; may be repeated")
    parser.add_argument("--corpora", type=int, default=CORPORA, help="parts of the corpus")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the page goes")
    options = parser.parse_args(words)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only in (None, "mechanisms"):
        show(options.work)
    if options.only in (None, "healthy"):
        ask_healthy(options.work, tuple(options.select), options.corpora)
    write(options.work, options.out)


def rows() -> list[Row]:
    """The public faults."""
    return msgspec.convert(msgspec.toml.decode(ROWS.read_bytes())["row"], list[Row])


def show(work: Path) -> None:
    """Every mechanism."""
    found = mechanisms.show_all(tables.matrix(), list(mechanisms.MECHANISMS), _say)
    write_json(work / "mechanisms.json", found)


def ask_healthy(work: Path, select: tuple[str, ...], corpora: int) -> None:
    """Healthy cells that were not asked yet, or that are selected."""
    folder = work / "healthy"
    folder.mkdir(exist_ok=True)
    for profile in HEALTHY:
        for one in alarms.over(profile, select, corpora, _say):
            write_json(folder / f"{one.engine}__{one.model}__{one.probe}.json", one)


def write(work: Path, out: Path) -> None:
    """The page of everything that is there."""
    if not (work / "mechanisms.json").is_file():
        raise SystemExit(f"{work} holds no mechanisms: run without --only first")
    shown = read_json(work / "mechanisms.json", dict[str, mechanisms.Shown])
    healthy = [read_json(path, Alarms) for path in sorted((work / "healthy").glob("*.json"))]
    versions = {"reference": tables.matrix().models["smollm2-135m-instruct"].reference}
    now = dt.datetime.now(dt.UTC)
    (out / "fault-coverage.md").write_text(page.document(rows(), shown, healthy, now, versions, healthy_cells()))


def healthy_cells() -> int:
    """How many cells the goal is about."""
    plans = [plan(tables.matrix(), profile, ()) for profile in HEALTHY]
    return sum(planned.excluded is None for found in plans for planned in found)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
