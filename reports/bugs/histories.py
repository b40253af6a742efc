"""What the places that ever blamed an engine have shown, result by result, as little of each as failures need."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from matrix.cells import HISTORY, Record
from matrix.results import Status, Verdict
from reports import rows
from reports.bugs import clusters
from reports.bugs.signature import BENEATH, Signature, signature
from reports.questions import BLAMED, listed
from reports.store import Store

ANSWERED = listed(status for status in Status if status.settles)
"""What settles something of an engine; a rule that excludes a cell says nothing of it."""

Key = tuple[str, str, str]
"""Run, cell, probe."""


class Place(NamedTuple):
    """What a newer release of an engine is asked again."""

    engine: str
    channel: str
    model: str
    device: str
    config: str
    probe: str


_PLACE = ", ".join(Place._fields)

# What past releases did, asked today, is no news of an engine.
# What blames unexpectedly is read with what it is known by, of anything else only that it was. Evidence, which is long,
# is read only of crashes that are known by where they happened.
_SETTLED = f"""
WITH places AS (
    SELECT DISTINCT {_PLACE} FROM results
    WHERE profile <> '{HISTORY}' AND status IN ({BLAMED}) AND status <> expected
), settled AS (
    SELECT *, status IN ({BLAMED}) AND status <> expected AS news
    FROM results SEMI JOIN places USING ({_PLACE}) WHERE profile <> '{HISTORY}' AND status IN ({ANSWERED})
), dated AS (
    SELECT cell_id, TRY_CAST(any_value(cell) ->> '$.release.released' AS DATE) AS released FROM settled GROUP BY cell_id
)
SELECT run_id, cell_id, {_PLACE}, version, started_at, news, status, measurement IS NOT NULL AS judged,
    coalesce(night, CAST(CAST(started_at AS DATE) AS VARCHAR)) AS night,
    released, CASE WHEN news THEN reason END AS reason, CASE WHEN news THEN numbers END AS numbers,
    CASE WHEN news THEN curves END AS curves, CASE WHEN news THEN cell END AS cell,
    CASE WHEN news AND status = 'CRASH' AND regexp_matches(reason, ?) THEN evidence END AS evidence
FROM settled JOIN dated USING (cell_id) ORDER BY started_at, cell_id, run_id
"""


class Look(Record, frozen=True, kw_only=True):
    """One settled result of a place."""

    run_id: str
    cell_id: str
    place: Place
    release: str
    released: dt.date | None
    started_at: dt.datetime
    night: str
    passed: bool
    signature: Signature | None = None
    """Where it blames the engine unexpectedly; without one and not passed, it is expected or in doubt."""
    architecture: str = ""
    """Known where there is a signature."""

    @property
    def key(self) -> Key:
        """What no two looks share."""
        return self.run_id, self.cell_id, self.place.probe


def looks(store: Store) -> list[Look]:
    """Every settled result of every place that ever blamed an engine unexpectedly, in the order of measuring."""
    return [_look(row) for row in store.query(_SETTLED, [BENEATH.pattern])]


def _look(row: dict[str, Any]) -> Look:
    known, architecture = None, ""
    if row["news"]:
        cell = rows.cell(row["cell"])
        curves = msgspec.json.decode(row["curves"], type=dict[str, tuple[float, ...]])
        verdict = Verdict(
            status=Status(row["status"]),
            reason=row["reason"],
            evidence=msgspec.json.decode(row["evidence"] or "{}", type=dict[str, str]),
            numbers=dict(row["numbers"] or {}),
            curves=curves,
        )
        known, architecture = signature(cell, row["probe"], verdict, judged=row["judged"]), cell.model.architecture
    return Look(
        run_id=row["run_id"],
        cell_id=row["cell_id"],
        place=Place(**{name: row[name] for name in Place._fields}),
        release=f"{row['engine']}-{row['version']}",
        released=row["released"],
        started_at=row["started_at"],
        night=row["night"],
        passed=row["status"] == Status.PASS.value,
        signature=known,
        architecture=architecture,
    )


def by_failure(every: Sequence[Look]) -> dict[str, list[Look]]:
    """The looks that show each failure, by the id of its earliest signature, in the order of measuring."""
    leading = clusters.leaders(one.signature for one in every if one.signature is not None)
    found: dict[str, list[Look]] = {}
    for one in every:
        if one.signature is not None:
            found.setdefault(leading[one.signature.id].id, []).append(one)
    return found


def by_place(every: Sequence[Look]) -> dict[Place, list[Look]]:
    """What holds for each place, in the order of measuring: a release that was older than one before counts no more."""
    found: dict[Place, list[Look]] = {}
    for one in every:
        found.setdefault(one.place, []).append(one)
    return {place: list(_of_newest(history)) for place, history in found.items()}


def _of_newest(history: Sequence[Look]) -> Iterator[Look]:
    first: dict[str, dt.date] = {}
    for one in history:
        first.setdefault(one.release, one.started_at.date())
    newest = (False, dt.date.min)
    for one in history:
        age = (one.released is not None, one.released or first[one.release])
        if age >= newest:
            newest = age
            yield one
