"""Results of several nights of several engines, models and devices, as runs would leave them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import NamedTuple

import msgspec

from matrix.cells import Cell
from matrix.plan import Night
from matrix.results import LOG_TAIL, Result, Status, Timings, write_bytes, write_json, write_result
from reports.site import build
from reports.site.gather import gather
from reports.store import Store
from tests.reports.samples import cell, whole_cell

NOW = dt.datetime(2026, 1, 10, 6, 0, tzinfo=dt.UTC)

CURVES = {
    "prefill_position": (0.0, 8.0, 16.0),
    "prefill_engine_nats": (1e-3, 2e-3, 5e-2),
    "prefill_noise_low_nats": (1e-3, 1e-3, 1e-3),
    "prefill_noise_high_nats": (3e-3, 3e-3, 4e-3),
}


def put(results: Path, night: str, nights_ago: int, found: list[Result]) -> None:
    """Store results as a nightly run of some nights ago."""
    for number, one in enumerate(found):
        started_at = NOW - dt.timedelta(days=nights_ago, minutes=60 - number)
        provenance = msgspec.structs.replace(
            one.provenance, run_id=f"run-{night}", night=night, started_at=started_at, profile="nightly",
            launcher="docker", command=("serve", "a b"), harness_version=f"0.1.0+{'ab' * 20}",
        )  # fmt: skip
        write_result(results / f"run-{night}", msgspec.structs.replace(one, provenance=provenance))
        folder = results / f"run-{night}" / one.cell_id
        write_bytes(folder / LOG_TAIL, b"last <words>\n")
        write_json(folder / "timings.json", Timings(cell_id=one.cell_id, seconds={"start": 60.0, "probes": 120.0}))


def plan(results: Path, night: str, nights_ago: int, *cells: str) -> None:
    planned_at = NOW - dt.timedelta(days=nights_ago, hours=2)
    left_out = {"old-1.0__small__gpu__default": "no runner for gpu"}
    record = Night(night=night, planned_at=planned_at, profile="nightly", cells=cells, left_out=left_out)
    write_json(results / f"{night}.night.json", record)


class About(NamedTuple):
    """What readers filter by."""

    name: str
    day: int
    """Of January, on which it was released."""
    billions: float
    licence: str
    maker: str


GOOD = About("good-0.6b", 1, 0.6, "Apache-2.0", "Alpine")
BIG = About("big-31b", 5, 31.0, "MIT", "Borealis")
ODD = About("odd-4b", 8, 4.0, "Other", "Alpine")


def of_model(about: About, engine: str, device: str = "cpu") -> Cell:
    """A cell of a model of which everything is known."""
    plain = cell(engine)
    model = msgspec.structs.replace(
        plain.model, id=about.name, released=dt.date(2026, 1, about.day), licence=about.licence,
        organisation=about.maker, country="FR", kinds=("moe",) if about.billions > 5 else ("dense",),
        parameters_total=int(about.billions * 1e9), parameters_active=int(about.billions * 2e8),
    )  # fmt: skip
    release = msgspec.structs.replace(plain.release, released=dt.date(2025, 12, 1))
    there = msgspec.structs.replace(plain.device, id=device, price_per_hour=2.0)
    return msgspec.structs.replace(plain, model=model, release=release, device=there)


def a_week(results: Path) -> None:
    """Three models on two engines: one right everywhere, one that breaks in the third night, one wrong; two devices."""
    for back in range(6, -1, -1):
        broke = Status.FAIL if back < 3 else Status.PASS
        found = [one for engine in ("alpha", "beta") for one in whole_cell(of_model(GOOD, engine))]
        found += whole_cell(of_model(BIG, "alpha"), correctness=broke)
        found += whole_cell(of_model(ODD, "beta", "gpu"), correctness=Status.FAIL) if back < 2 else []
        drawn = [with_curves(one) if one.probe == "correctness" else one for one in found]
        put(results, f"n{back}", back, drawn)


def with_curves(one: Result) -> Result:
    return msgspec.structs.replace(one, verdict=msgspec.structs.replace(one.verdict, curves=CURVES))


def publish(found: Store, folder: Path) -> Path:
    return build.write(gather(found, made_at=NOW), found, folder, base="https://example.org/readiness/")
