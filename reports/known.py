"""What earlier nights say of each cell, for the plan of the next one."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from matrix.cells import Cell, Record
from matrix.priorities import Known
from matrix.results import Status
from reports import rows
from reports.questions import SETTLED
from reports.standing import SETTLING
from reports.store import Store

RUNS = 5
"""Of a cell, that say what it takes."""

# One row for each run of a cell, the newest first. What a probe was asked stands in its version; the rest of what it
# was measured with is the same for all probes of a run.
_RUNS = f"""
SELECT cell_id, run_id, max(started_at) AS moment, list(status) AS statuses,
    sum(seconds) + coalesce(max(startup_s), 0) AS seconds, map_from_entries(list((probe, probe_version))) AS probes,
    any_value(cell) AS cell, any_value(requirements_sha256) AS requirements_sha256,
    any_value(image_digest) AS image_digest, any_value(driver) AS driver
FROM results JOIN (SELECT unnest(?) AS cell_id) USING (cell_id)
GROUP BY cell_id, run_id
QUALIFY row_number() OVER (PARTITION BY cell_id ORDER BY moment DESC) <= {RUNS}
ORDER BY cell_id, moment DESC
"""

_DRIVERS = "SELECT device, arg_max(driver, started_at) AS driver FROM results WHERE driver IS NOT NULL GROUP BY device"

_BEFORE = f"""
SELECT engine, model, device, config, CAST(max(started_at) AS DATE) AS day
FROM results WHERE status IN ({SETTLED}) GROUP BY ALL
"""


def before(store: Store, cells: Iterable[Cell]) -> dict[str, dt.date]:
    """By cell, the day on which any release of its engine was last asked the same."""
    asked = {(one["engine"], one["model"], one["device"], one["config"]): one["day"] for one in store.query(_BEFORE)}
    places = ((cell, (cell.release.engine, cell.model.id, cell.device.id, cell.config.id)) for cell in cells)
    return {cell.id: asked[place] for cell, place in places if place in asked}


def drivers(store: Store) -> dict[str, str]:
    """The driver that each device was last seen with."""
    return {one["device"]: one["driver"] for one in store.query(_DRIVERS)}


def known(store: Store, cells: Collection[str]) -> dict[str, Known]:
    """By cell, of those that were ever asked."""
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for run in store.query(_RUNS, [sorted(cells)]):
        by_cell.setdefault(run["cell_id"], []).append(run)
    return {cell: found for cell, runs in by_cell.items() if (found := _known(runs)) is not None}


def _known(runs: Sequence[Mapping[str, Any]]) -> Known | None:
    """From the runs of one cell, the newest first; None where none has got an answer."""
    statuses = [{Status(word) for word in run["statuses"]} for run in runs]
    answered = [index for index, found in enumerate(statuses) if found & SETTLING]
    if not answered:
        return None
    held = answered[0]
    red = [any(status.blames_engine for status in statuses[index]) for index in answered]
    took = [run["seconds"] for run, found in zip(runs, statuses, strict=True) if any(one.decided for one in found)]
    return Known(
        asked=runs[held]["moment"].date(),
        red=red[0],
        confirmed=len(red) > 1 and red[0] == red[1],
        unanswered=held > 0 or Status.ERROR in statuses[0],
        seconds=median(took) if took else None,
        longest_s=max(took, default=None),
        setting=_setting(runs[held]),
    )


def _setting(run: Mapping[str, Any]) -> dict[str, str]:
    cell = rows.cell(run["cell"])
    made_of = run["image_digest"] if cell.image is not None else run["requirements_sha256"]
    return setting(cell, made_of, run["driver"], run["probes"])


def setting(cell: Cell, made_of: str | None, driver: str | None, probes: Mapping[str, int]) -> dict[str, str]:
    """What a cell is measured with, by name; what nobody knows is left out.

    `made_of`: the digest of its official image, or the hash of the lock that its environment is installed from.
    """
    named = {
        "image" if cell.image is not None else "lock": made_of,
        "driver": driver,
        "model": _text(cell.model.source),
        "config": _text(cell.config),
        "workload": _text(cell.device.workload),
        **{f"probe {name}": str(version) for name, version in sorted(probes.items())},
    }
    return {name: value for name, value in named.items() if value is not None}


@functools.lru_cache(maxsize=10_000)
def _text(value: Record) -> str:
    return msgspec.json.encode(value).decode()
