"""What each of the last nights has brought, so that one that brought nothing is seen. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from matrix.cells import Record
from matrix.plan import Night

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
    def lacking(self) -> bool:
        """True where it set out to ask something, and not everything was asked or nothing decided."""
        return bool(self.planned) and (bool(self.missing) or not self.decided)

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


class Came(Record, frozen=True, kw_only=True):
    """A cell of which something was measured on a day."""

    night: str | None
    """The nightly run that it was a part of."""
    day: dt.date
    """UTC."""
    cell_id: str
    decided: bool
    """At least one of its results."""


def last(nights: Sequence[Night], came: Sequence[Came], today: dt.date) -> list[Brought]:
    """The last nights up to a day (UTC), newest first; days without any run are among them."""
    days = {night.night: _day(night.planned_at) for night in nights}
    by_day: dict[dt.date, list[Came]] = {}
    for one in came:
        by_day.setdefault(days.get(one.night or "", one.day), []).append(one)
    return [
        brought(day, [night for night in nights if days[night.night] == day], by_day.get(day, []))
        for day in (today - dt.timedelta(days=back) for back in range(SHOWN))
    ]


def brought(day: dt.date, nights: Sequence[Night], came: Collection[Came]) -> Brought:
    """What came of some plans of one day."""
    planned = {cell for night in nights for cell in night.cells}
    cells = {one.cell_id for one in came}
    return Brought(
        day=day,
        planned=len(planned | cells) if nights else None,
        came=len(cells),
        decided=len({one.cell_id for one in came if one.decided}),
        missing=tuple(sorted(planned - cells)),
    )


def _day(moment: dt.datetime) -> dt.date:
    return moment.astimezone(dt.UTC).date()
