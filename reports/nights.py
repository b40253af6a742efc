"""What each of the last nights has brought, so that one that brought nothing is seen. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from matrix.cells import Record
from matrix.plan import Night
from matrix.results import Result

SHOWN = 7
"""Nights that the page looks back."""


class Brought(Record, frozen=True, kw_only=True):
    """One night, or one day of runs by hand."""

    day: dt.date
    """UTC; of a nightly run the day on which it was planned, whenever its cells ran."""
    planned: int | None
    """Cells that it set out to run; None where there was no plan."""
    came: int
    """Cells with at least one result."""
    decided: int
    """Cells with at least one result that was decided."""
    missing: tuple[str, ...]
    """Planned cells without any result."""

    @property
    def sentence(self) -> str:
        """In words."""
        if self.planned is None:
            return f"{self.decided} of {self.came} cells decided" if self.came else "no run"
        if not self.planned:
            return "no results, and nothing was planned"
        if not self.came:
            planned = "1 cell was" if self.planned == 1 else f"{self.planned} cells were"
            return f"no results, though {planned} planned"
        lacking = f", {len(self.missing)} did not report" if self.missing else ""
        return f"{self.decided} of {self.planned} cells decided{lacking}"


def last(nights: Sequence[Night], results: Sequence[Result], today: dt.date) -> list[Brought]:
    """The last nights up to a day (UTC), newest first; days without any run are among them."""
    days = {night.night: _day(night.planned_at) for night in nights}
    by_day: dict[dt.date, list[Result]] = {}
    for result in results:
        day = days.get(result.provenance.night or "", _day(result.provenance.started_at))
        by_day.setdefault(day, []).append(result)
    return [
        brought(day, [night for night in nights if days[night.night] == day], by_day.get(day, []))
        for day in (today - dt.timedelta(days=back) for back in range(SHOWN))
    ]


def brought(day: dt.date, nights: Sequence[Night], results: Collection[Result]) -> Brought:
    """What came of some plans of one day."""
    planned = {cell for night in nights for cell in night.cells}
    came = {result.cell_id for result in results}
    return Brought(
        day=day,
        planned=len(planned | came) if nights else None,
        came=len(came),
        decided=len({result.cell_id for result in results if result.verdict.status.decided}),
        missing=tuple(sorted(planned - came)),
    )


def _day(moment: dt.datetime) -> dt.date:
    return moment.astimezone(dt.UTC).date()
