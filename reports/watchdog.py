"""Whether the nights still come and bring what they set out to, in the watchdog's sentences. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from matrix.cells import Record
from matrix.plan import Night
from matrix.results import Result
from reports.nights import Came, brought

LATE = dt.timedelta(hours=26)
"""A night comes every 24 hours, and a scheduled workflow may wait an hour or two for its turn."""

LEAST_SHARE = 0.5
"""Of the cells that a night set out to ask, those that must be decided."""


class Finding(Record, frozen=True, kw_only=True):
    """One sentence, and whether somebody must look."""

    sentence: str
    wrong: bool


class Page(Record, frozen=True, kw_only=True):
    """What came of asking for the published page and its grid.json."""

    url: str
    status: int | None
    """HTTP status of the page; None where nothing answered."""
    made_at: dt.datetime | None
    """UTC, as grid.json says it; None where it does not."""
    problem: str = ""
    """Why one of the two is None."""
    off: bool = False
    """None is published, by the word of whoever would publish it."""


def newest(nights: Sequence[Night], profile: str, now: dt.datetime) -> Night | None:
    """The last night of a profile that was planned by now."""
    planned = [night for night in nights if night.profile == profile and night.planned_at <= now]
    return max(planned, key=lambda night: night.planned_at, default=None)


def of_nights(profile: str, night: Night | None, results: Sequence[Result], now: dt.datetime) -> list[Finding]:
    """What there is to say of a profile by its newest night and the results of that.

    A night is alive from its plan on and as long as it measures: one that takes hours is not late for that, and one
    that had nothing to ask, because everything is unchanged, is as good as any.
    """
    if night is None:
        return [Finding(sentence=f"{profile}: there is no night at all", wrong=True)]
    known = [result for result in results if result.provenance.started_at <= now]
    decided = [result.provenance.started_at for result in known if result.verdict.status.decided]
    name = f"{profile}: night {night.night}, planned on {_moment(night.planned_at)}"
    age = now - max([night.planned_at, *decided])
    return [_aged(f"{name}, was last heard of {_hours(age)} ago", age), _harvest(profile, night, known)]


def _aged(told: str, age: dt.timedelta) -> Finding:
    late = age > LATE
    return Finding(sentence=f"{told}; {_hours(LATE)} is the limit" if late else told, wrong=late)


def _harvest(profile: str, night: Night, results: Sequence[Result]) -> Finding:
    day = night.planned_at.astimezone(dt.UTC).date()
    found = brought(day, [night], _came(night.night, day, results))
    if not found.planned:
        return Finding(sentence=f"{profile}: night {night.night} had nothing to ask", wrong=False)
    few = found.decided < LEAST_SHARE * found.planned
    told = f"{profile}: night {night.night}: {found.sentence}"
    return Finding(sentence=f"{told}; fewer than half" if few else told, wrong=few)


def _came(night: str, day: dt.date, results: Sequence[Result]) -> list[Came]:
    decided: dict[str, bool] = {}
    for result in results:
        decided[result.cell_id] = decided.get(result.cell_id, False) or result.verdict.status.decided
    return [Came(night=night, day=day, cell_id=cell, decided=good) for cell, good in decided.items()]


def of_page(page: Page, now: dt.datetime) -> Finding:
    """What there is to say of the published page; one that is not published is no fault."""
    if page.off:
        return Finding(sentence=f"the page is off: {page.url} answers {page.status}", wrong=False)
    if page.status != 200:
        answer = page.problem if page.status is None else f"HTTP status {page.status}"
        return Finding(sentence=f"the page {page.url} does not answer: {answer}", wrong=True)
    if page.made_at is None:
        return Finding(sentence=f"the page {page.url} does not say when it was made: {page.problem}", wrong=True)
    age = now - page.made_at
    return _aged(f"the page {page.url} was made {_hours(age)} ago, on {_moment(page.made_at)}", age)


def markdown(findings: Sequence[Finding]) -> str:
    """For the page of a job."""
    return "\n".join(["## Watchdog", "", *(f"- {'🔴' if one.wrong else '🟢'} {one.sentence}" for one in findings), ""])


def _hours(time: dt.timedelta) -> str:
    return f"{time / dt.timedelta(hours=1):.1f} hours"


def _moment(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
