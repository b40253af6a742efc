"""`make bench-faults`: public faults of new models, and which of them the probes catch.

Writes docs/fault-coverage.md and the JSON that the site reads. Every mechanism of mechanisms.py is shown to its probe,
each beside its null twin; then healthy engines are asked over many distinct corpora. What is found is kept in
docs/fault-coverage.json; a healthy cell is asked again only where it is selected, or by a probe whose version has
changed or that ended in an ERROR of ours.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec.structs import replace

from matrix.cells import Cell
from matrix.plan import plan
from matrix.results import Status, read_json, write_json
from probes import tables
from reports import proofs
from tests.benchmarks.faults import alarms, mechanisms, page
from tests.benchmarks.faults.alarms import Asked
from tests.benchmarks.faults.page import Alarms, Healthy, Kept, Row

ROWS = Path(__file__).with_name("rows.toml")
DOCS = Path(__file__).parents[3] / "docs"
KEPT = "fault-coverage.json"
HEALTHY = ("standard-float32", "microscope-robust")
"""Profiles of healthy cells: a small real model, and six tiny checkpoints, all in float32 with their caches."""
PARTS = 3
"""Of the corpus, for each model of an engine: with seven models, 21 for each engine."""

PROBES = tuple(probe.name for probe in alarms.ASKED)


def main(words: Sequence[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults", description=__doc__)
    parser.add_argument(
        "--only", choices=("mechanisms", "healthy", "page"), help="one part; the page is written always"
    )
    parser.add_argument("--select", action="append", default=[], metavar="GLOB", help="healthy cells; may be repeated")
    parser.add_argument("--probe", choices=PROBES, action="append", help="ask this alone; may be repeated")
    parser.add_argument("--parts", type=int, default=PARTS, help="parts of the corpus for each healthy cell")
    parser.add_argument("--jobs", type=int, default=1, help="healthy cells at a time")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the page goes, and what it is made of")
    parser.add_argument("--record", type=Path, default=proofs.FAULT_COVERAGE, help="the JSON that the site reads")
    options = parser.parse_args(words)
    if options.only in (None, "mechanisms"):
        found = mechanisms.show_all(tables.matrix(), list(mechanisms.MECHANISMS), alarms.say)
        keep(options.out, replace(kept(options.out), mechanisms=found))
    if options.only in (None, "healthy"):
        asking = tuple(name for name in PROBES if name in (options.probe or PROBES))
        ask_healthy(options.out, tuple(options.select), asking, options.parts, options.jobs)
    write(options.out, options.record)


def rows() -> list[Row]:
    """The public faults."""
    return msgspec.convert(msgspec.toml.decode(ROWS.read_bytes())["row"], list[Row])


def ask_healthy(out: Path, select: Sequence[str], asking: Sequence[str], parts: int, jobs: int) -> None:
    """Selected cells; else those that were not asked all that these probes ask."""
    known = {cell.who: cell for cell in standing(kept(out))}
    models = sorted({cell.model.id for _, cell in healthy_cells()})
    cells = [
        Asked(profile=profile, cell=cell.id, parts=shared_out(models, cell.model.id, parts), probes=probes)
        for profile, cell in healthy_cells()
        if (not select or any(fnmatchcase(cell.id, glob) for glob in select))
        and (probes := tuple(asking) if select else left_to_ask(known.get(_who(cell)), asking))
    ]
    for one in alarms.over(cells, jobs):
        keep(out, kept(out).with_healthy(one))


def left_to_ask(cell: Healthy | None, asking: Sequence[str] = PROBES) -> tuple[str, ...]:
    """Probes that a cell was not asked, or that said nothing for a reason of ours; after a crash none can be."""
    if cell is None:
        return tuple(asking)
    if cell.silent or any(one.said(Status.CRASH) for one in cell.alarms):
        return ()
    answered = {one.probe for one in cell.alarms if not one.said(Status.ERROR)}
    return tuple(name for name in asking if name not in answered)


def shared_out(models: Sequence[str], model: str, count: int) -> tuple[int, ...]:
    """The numbers of `count` parts of the corpus, which no other model is asked over."""
    first = models.index(model)
    return tuple(range(first, first + count * len(models), len(models)))


def kept(out: Path) -> Kept:
    """What was found so far."""
    return read_json(out / KEPT, Kept) if (out / KEPT).is_file() else Kept()


def keep(out: Path, found: Kept) -> None:
    """For the next run, on whichever machine."""
    (out / KEPT).write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def standing(found: Kept) -> list[Healthy]:
    """What the probes as they are said of releases and models that are still asked."""
    asked = {_who(cell) for _, cell in healthy_cells()}
    cells = [replace(cell, alarms=_valid(cell)) for cell in found.healthy if cell.who in asked]
    return [cell for cell in cells if cell.alarms or cell.silent]


def _valid(cell: Healthy) -> tuple[Alarms, ...]:
    versions = {probe.name: probe.version for probe in alarms.ASKED}
    return tuple(replace(one, known=_known(cell, one)) for one in cell.alarms if one.version == versions.get(one.probe))


def _known(cell: Healthy, one: Alarms) -> str | None:
    rule = tables.matrix().expectation(cell.cell, one.probe)
    return rule.status if rule is not None else None


def write(out: Path, record: Path) -> None:
    """The page of everything that is there, and what the site says of it."""
    found = kept(out)
    versions = {"reference": tables.matrix().models["smollm2-135m-instruct"].reference}
    asked = {cell.who: cell for cell in standing(found)}
    left = {cell.id: left_to_ask(asked.get(_who(cell))) for _, cell in healthy_cells()}
    now = dt.datetime.now(dt.UTC)
    text = page.document(rows(), found.mechanisms, standing(found), now, versions, left)
    (out / "fault-coverage.md").write_text(text)
    write_json(record, page.record(rows(), found.mechanisms, standing(found), now))


def healthy_cells() -> list[tuple[str, Cell]]:
    """The cells that the goal is about, each with its profile."""
    plans = {profile: plan(tables.matrix(), profile, ()) for profile in HEALTHY}
    return [(profile, one.cell) for profile, found in plans.items() for one in found if one.excluded is None]


def _who(cell: Cell) -> tuple[str, str]:
    return cell.release.id, cell.model.id


if __name__ == "__main__":
    main(sys.argv[1:])
