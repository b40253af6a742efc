"""What the site asks of a store, in SQL: each question once, and only what is shown is made into records."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from itertools import pairwise

import numpy as np

from matrix.cells import HISTORY, Record
from matrix.results import Result, Status
from reports import rows
from reports.adoption import SPEED
from reports.grid import Place
from reports.levels import Finding
from reports.nights import Came
from reports.standing import SETTLING, Standing, launch
from reports.store import Store, quoted
from reports.timeline import Change


def listed(statuses: Iterable[Status]) -> str:
    """Statuses as SQL lists them."""
    return ", ".join(quoted(status.value) for status in statuses)


BLAMED = listed(status for status in Status if status.blames_engine)
DECIDED = listed(status for status in Status if status.decided)
SETTLED = listed(status for status in Status if status in SETTLING)

# A result settles something by its status, or because the engine broke in the same launch before it could be asked.
_MARKED = f"""
    SELECT run_id, cell_id, probe, started_at, hash(status, answered, compared) AS said,
        status IN ({SETTLED}) OR (status = 'NOTRUN' AND (run_id, cell_id) IN (
            SELECT (run_id, cell_id) FROM results WHERE status IN ({BLAMED}))) AS settles
    FROM results
"""

# The rule of `standing.standing` in SQL: of what settles something the newest, else the newest of all; beside it the
# newest of all, where that settles nothing.
_KEYS = f"""
WITH marked AS ({_MARKED}), newest AS (
    SELECT cell_id, probe, max(struct_pack(settles, started_at, run_id)) AS held,
        max(struct_pack(started_at, run_id, settles)) AS last
    FROM marked GROUP BY cell_id, probe
)
SELECT cell_id, probe, held.run_id AS run_id, held.started_at AS started_at, false AS later FROM newest
UNION ALL
SELECT cell_id, probe, last.run_id, last.started_at, true FROM newest WHERE held.settles AND NOT last.settles
"""

# Rows are whole here: the moment lets files and parts of files be left unread.
_WHOLE = """
SELECT results.*, keys.later FROM results JOIN (
    SELECT unnest(?) AS run_id, unnest(?) AS cell_id, unnest(?) AS probe, unnest(?) AS later
) AS keys USING (run_id, cell_id, probe)
WHERE started_at >= ? ORDER BY started_at, cell_id
"""

# Of those results alone that settled other than the one before. A hash is sorted twice as fast as two texts, and a
# million results have some thousand places, of which no two share one of 64 bits.
_CHANGES = f"""
WITH marked AS ({_MARKED}), changed AS (
    SELECT run_id, cell_id, probe FROM marked WHERE settles
    QUALIFY said IS DISTINCT FROM lag(said) OVER (PARTITION BY hash(cell_id, probe) ORDER BY started_at)
)
SELECT device, model, engine, channel, version, build, cell_id, probe, status, reason, answered, compared,
    TRY_CAST(cell ->> '$.release.released' AS DATE) AS released,
    CASE WHEN profile = '{HISTORY}' THEN coalesce(released, CAST(started_at AS DATE))
        ELSE CAST(started_at AS DATE) END AS day,
    coalesce(TRY_CAST(cell ->> '$.config.speed_counts' AS BOOLEAN), false) AS speed_counts,
    coalesce(TRY_CAST(cell ->> '$.device.speed_judged' AS BOOLEAN), true) AS speed_judged
FROM results JOIN changed USING (run_id, cell_id, probe) ORDER BY day, started_at, cell_id, run_id
"""

_CAME = f"""
SELECT night, CAST(started_at AS DATE) AS day, cell_id, bool_or(status IN ({DECIDED})) AS decided
FROM results WHERE started_at >= ? GROUP BY ALL ORDER BY day, cell_id
"""

_PAST = f"""
SELECT cell_id, probe, started_at, status, numbers['{SPEED}'] AS speed
FROM results WHERE started_at >= ? ORDER BY cell_id, probe, started_at
"""


class Past(Record, frozen=True, kw_only=True):
    """One probe of one cell over nights, oldest first."""

    days: tuple[dt.date, ...]
    statuses: tuple[str, ...]
    speeds: tuple[float, ...]
    """Output tokens/s of one request at a time; NaN where a night has none."""


class AboutCell(Record, frozen=True, kw_only=True):
    """What is kept of a cell of a run beside its results."""

    log_tail: str
    """The last lines of the engine's log; empty where none was kept."""
    seconds: dict[str, float]
    """Where its time went."""


def standing(store: Store) -> list[Standing]:
    """What holds for every cell and probe, by the rule of `standing.standing`."""
    keys = store.query(_KEYS)
    if not keys:
        return []
    columns = [[key[name] for key in keys] for name in ("run_id", "cell_id", "probe", "later")]
    found = store.query(_WHOLE, [*columns, min(key["started_at"] for key in keys)])
    by_place: dict[tuple[str, str], dict[bool, Result]] = {}
    for one in found:
        later = one.pop("later")
        by_place.setdefault((one["cell_id"], one["probe"]), {})[later] = rows.result(one)
    return [Standing(result=held[False], later=held.get(True)) for held in by_place.values()]


def changes(store: Store) -> list[Change]:
    """Every result that settled other than the one before it, in the order of days, and of measuring."""
    return [
        Change(
            place=Place(device=one["device"], model=one["model"], engine=one["engine"], channel=one["channel"]),
            release=f"{one['engine']}-{one['version']}",
            released=one["released"],
            day=one["day"],
            build=one["build"],
            finding=Finding(
                cell_id=one["cell_id"],
                probe=one["probe"],
                status=Status(one["status"]),
                reason=one["reason"],
                answered=one["answered"],
                compared=one["compared"],
                device=one["device"],
                speed_counts=one["speed_counts"],
                speed_judged=one["speed_judged"],
            ),
        )
        for one in store.query(_CHANGES)
    ]


def came(store: Store, since: dt.date) -> list[Came]:
    """The cells of which something was measured, day by day from one on."""
    found = store.query(_CAME, [since])
    return [Came(**one) for one in found]


def past(store: Store, since: dt.date) -> dict[tuple[str, str], Past]:
    """Every status and speed of every cell and probe from a day on."""
    found = store.numbers(_PAST, [since])
    keys = list(zip(found["cell_id"], found["probe"], strict=True))
    edges = [place for place in range(len(keys) + 1) if place in (0, len(keys)) or keys[place] != keys[place - 1]]
    days = found["started_at"].astype("datetime64[D]").tolist()
    statuses, speeds = found["status"].tolist(), np.ma.filled(found["speed"], np.nan).tolist()
    return {
        keys[first]: Past(
            days=tuple(days[first:end]), statuses=tuple(statuses[first:end]), speeds=tuple(speeds[first:end])
        )
        for first, end in pairwise(edges)
    }


def about_cells(store: Store, launches: Collection[tuple[str, str]]) -> dict[tuple[str, str], AboutCell]:
    """What is kept of some cells of some runs, by run and cell."""
    cells, runs = sorted({cell for _, cell in launches}), sorted({run for run, _ in launches})
    found = store.query(
        "SELECT * FROM cells WHERE list_contains(?, run_id) AND list_contains(?, cell_id)", [runs, cells]
    )
    return {
        (one["run_id"], one["cell_id"]): AboutCell(log_tail=one["log_tail"] or "", seconds=dict(one["seconds"] or {}))
        for one in found
    }


def log_tail(store: Store, result: Result) -> str:
    """The last lines of the engine's log in the run of a result; empty where none was kept."""
    found = about_cells(store, [launch(result)]).get(launch(result))
    return found.log_tail if found is not None else ""
