"""The speeds that a store holds, asked in columns: a year of nights has a hundred thousand of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from matrix.cells import Cell
from reports import rows
from reports.questions import DECIDED
from reports.speeds import PROBE, Measured, Series, columns, series_of
from reports.store import Store

# Not where speeds are not judged: machines there differ from night to night.
_TIMED = f"""probe = '{PROBE}' AND started_at >= ? AND status IN ({", ".join("?" * len(DECIDED))})
    AND coalesce(TRY_CAST(cell ->> '$.device.speed_judged' AS BOOLEAN), true)"""

_CELLS = f"SELECT DISTINCT hash(cell) AS key, cell FROM results WHERE {_TIMED}"

_SETTING = {
    "engine": "version",
    "engine says": "engine_version",
    "image": "image_digest",
    "requirements": "requirements_sha256",
    "model revision": "model_digest",
    "device": "evidence ->> '$.device'",
    "probe": "CAST(probe_version AS VARCHAR)",
    "harness": "harness_version",
}
"""What could change a speed, in SQL."""


def measured(store: Store, since: dt.date) -> Iterator[Measured]:
    """Every speed from a day on."""
    timed = (since, *DECIDED)
    cells = {one["key"]: rows.cell(one["cell"]) for one in store.query(_CELLS, timed)}
    names = sorted(
        {name for cell in cells.values() for shape in cell.device.workload.shapes for name in columns(shape)}
    )
    asked = ["hash(cell) AS key", "machine", "started_at"]
    asked += [f"{sql} AS setting_{number}" for number, sql in enumerate(_SETTING.values())]
    asked += [f"numbers[?] AS number_{number}" for number in range(len(names))]
    series = cache(lambda key, machine: series_of(cells[key], machine))
    for row in store.query(f"SELECT {', '.join(asked)} FROM results WHERE {_TIMED}", (*names, *timed)):
        numbers = {name: row[f"number_{number}"] for number, name in enumerate(names)}
        yield from _of_row(row, cells[row["key"]], series(row["key"], row["machine"]), numbers)


def _of_row(
    row: Mapping[str, Any], cell: Cell, of_cell: Sequence[Series], numbers: Mapping[str, float | None]
) -> Iterator[Measured]:
    setting = _setting(tuple(row[f"setting_{number}"] for number in range(len(_SETTING))))
    for shape, series in zip(cell.device.workload.shapes, of_cell, strict=True):
        speed, canary = (numbers[name] for name in columns(shape))
        if speed:
            yield Measured(series=series, started_at=row["started_at"], speed=speed, canary=canary, setting=setting)


@lru_cache(maxsize=10_000)
def _setting(values: tuple[str | None, ...]) -> Mapping[str, str]:
    """By name; nights share most of theirs."""
    return {name: value for name, value in zip(_SETTING, values, strict=True) if value}
