"""`make bench-plan`: a plan of 100,000 cells timed, and sixty nights of planning played; writes docs/planning.md."""

from __future__ import annotations

import datetime as dt
import gc
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import msgspec

from matrix.cells import Cell
from matrix.jobs import jobs
from matrix.priorities import Candidate, Known, choose
from matrix.results import write_bytes
from probes import tables
from probes.provenance import machine
from tests.benchmarks.planning import page, pictures
from tests.benchmarks.planning.simulation import Player, World, arrivals, expected_s

DOCS = Path(__file__).parents[3] / "docs"

BUDGETS_H = (12.0, 24.0, 48.0)
SEEDS = (1, 2, 3, 4, 5)

CELLS = 100_000
REPEATS = 5


def timed(like: Cell) -> list[float]:
    """Seconds to decide on 100,000 cells, half of them known, and to make jobs of what is asked; in each repeat."""
    today = dt.date(2026, 11, 30)
    releases = [msgspec.structs.replace(like.release, version=f"1.{n}", released=today) for n in range(100)]
    models = [msgspec.structs.replace(like.model, id=f"m{n}", parameters_total=10**9 * n) for n in range(1000)]
    cells = [msgspec.structs.replace(like, release=release, model=model) for release in releases for model in models]
    setting = {"image": "sha256:aa", "model": "someone/large@0123", "probe loading": "3", "probe correctness": "5"}
    candidates = [
        Candidate(cell=cell, before=today, setting=dict(setting), past=_known(n, today, setting) if n % 2 else None)
        for n, cell in enumerate(cells)
    ]
    took = []
    for _ in range(REPEATS):
        gc.collect()
        started = time.perf_counter()
        chosen = choose(candidates, today, budget_h=24.0)
        jobs([one.cell for one in chosen if one.asked])
        took.append(time.perf_counter() - started)
    assert len(cells) == CELLS
    return took


def _known(number: int, today: dt.date, setting: Mapping[str, str]) -> Known:
    asked = today - dt.timedelta(days=number % 9)
    return Known(asked=asked, seconds=600.0 + number % 1000, setting=dict(setting))


def main() -> None:
    """Measure, play and write."""
    like = next(cell for cell in tables.matrix().cells() if cell.device.id == "h100x1" and cell.image is not None)
    took = timed(like)
    print(f"{CELLS:,} cells: {median(took):.2f} s ({min(took):.2f} to {max(took):.2f})", flush=True)
    world = World(arrivals(), like)
    whole_h = sum(
        expected_s((cell.model.parameters_total or 0) / 1e9) * cell.device.accelerators / 3600
        for cell in world.cells(world.days.first + dt.timedelta(days=world.days.nights))
    )
    played = {
        (budget_h, by_priority): [Player(world, budget_h, seed, by_priority=by_priority).play() for seed in SEEDS]
        for budget_h in BUDGETS_H
        for by_priority in (True, False)
    }
    text = page.render(took, played, whole_h, machine=machine(), made_on=dt.datetime.now(dt.UTC).date())
    write_bytes(DOCS / "planning.md", text.encode())
    write_bytes(DOCS / "planning.svg", pictures.nights(played, world.days.first))
    print(text)


if __name__ == "__main__":
    main()
