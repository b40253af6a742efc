"""The speeds that a store holds, asked in columns: a year of nights has a hundred thousand of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

from matrix.cells import Cell
from reports import rows
from reports.questions import DECIDED
from reports.speeds import PROBE, Measured, Series, columns, series_of
from reports.store import Store

# Not where speeds are not judged: machines there differ from night to night.
_TIMED = f"""probe = '{PROBE}' AND started_at >= ? AND status IN ({DECIDED})
    AND coalesce(TRY_CAST(cell ->> '$.device.speed_judged' AS BOOLEAN), true)"""

_CELLS = f"SELECT DISTINCT hash(cell) AS key, cell FROM results WHERE {_TIMED}"

_SETTING = {
    "engine": "version",
    "engine says": "engine_version",
    "image": "image_digest",
    "requirements": "requirements_sha256",
    "model revision": "model_digest",
    "driver": "driver",
    "device": "evidence ->> '$.device'",
    "probe": "CAST(probe_version AS VARCHAR)",
    "harness": "harness_version",
}
"""What could change a speed, in SQL."""


def measured(store: Store, since: dt.date) -> Iterator[Measured]:
    """Every speed from a day on, in the order of measuring."""
    cells = {one["key"]: rows.cell(one["cell"]) for one in store.query(_CELLS, [since])}
    shapes = {shape for cell in cells.values() for shape in cell.device.workload.shapes}
    names = sorted({name for shape in shapes for name in columns(shape)})
    asked = ["hash(cell)", "machine", "started_at", *_SETTING.values(), *("numbers[?]" for _ in names)]
    sql = ", ".join(f"{one} AS column_{number}" for number, one in enumerate(asked))
    found = store.numbers(f"SELECT {sql} FROM results WHERE {_TIMED} ORDER BY started_at", (*names, since))
    places = cache(lambda key, machine: _places(cells[key], machine, names))
    for key, machine, started_at, *values in zip(*(column.tolist() for column in found.values()), strict=True):
        setting, numbers = _setting(tuple(values[: len(_SETTING)])), values[len(_SETTING) :]
        for series, speed, canary in places(key, machine):
            if numbers[speed]:
                yield Measured(
                    series=series,
                    started_at=started_at,
                    speed=numbers[speed],
                    canary=numbers[canary],
                    setting=setting,
                )


def _places(cell: Cell, machine: str, names: Sequence[str]) -> list[tuple[Series, int, int]]:
    """The series that a cell belongs to, and where among the names the speed and the canary of each are."""
    shapes = [tuple(names.index(name) for name in columns(shape)) for shape in cell.device.workload.shapes]
    return [(one, speed, canary) for one, (speed, canary) in zip(series_of(cell, machine), shapes, strict=True)]


@lru_cache(maxsize=10_000)
def _setting(values: tuple[str | None, ...]) -> Mapping[str, str]:
    """By name; nights share most of theirs."""
    return {name: value for name, value in zip(_SETTING, values, strict=True) if value}
