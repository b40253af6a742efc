"""Which cells a night asks, and why: news first, then what is red or has changed, then the rest in turn. Pure.

A night has so many accelerator-hours. What does not fit waits, and says so; what nothing has happened to since it was
measured is left for its turn, which comes within ROTATION nights.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Container, Mapping, Sequence
from enum import IntEnum
from statistics import median

from matrix.cells import Cell, Record

ROTATION = 7
"""Nights after which every cell is asked again, whatever has changed or not."""

EARLY = 3
"""Nights after which a cell may have its turn: of those that were once asked together not all are overdue together."""

GUESS_S = 1800.0
"""What a cell takes of which, and of whose like, nothing is known."""


class Known(Record, frozen=True, kw_only=True):
    """What earlier nights say of a cell."""

    asked: dt.date
    """The last day (UTC) on which it was asked and answered, or was skipped with a reason."""
    red: bool = False
    """What stands blames the engine."""
    confirmed: bool = False
    """The last two runs that decided say the same."""
    unanswered: bool = False
    """The newest run did not settle what it was to: an ERROR of ours, or nothing at all."""
    seconds: float | None = None
    """What it takes, in the middle of its last runs."""
    longest_s: float | None = None
    setting: Mapping[str, str] = {}
    """What it was measured with, by name: image, lock, model, config, workload, driver, each probe's version."""


class Why(IntEnum):
    """What a cell is asked for, in the order in which a night's budget goes to them."""

    NEW_MODEL = 0
    NEW_RELEASE = 1
    OVERDUE = 2
    RED = 3
    CHANGED = 4
    UNANSWERED = 5
    ROTATION = 6
    UNCHANGED = 7


class Choice(Record, frozen=True, kw_only=True):
    """One cell of a night: whether it is asked, and why or why not."""

    cell: Cell
    why: Why
    sentence: str
    hours: float
    """Accelerator-hours, as far as its own history, or that of its model on the device, says."""
    asked: bool


def choose(
    cells: Sequence[Cell],
    known: Mapping[str, Known],
    settings: Mapping[str, Mapping[str, str]],
    today: dt.date,
    *,
    budget_h: float | None = None,
) -> list[Choice]:
    """Decide on every cell, in the order in which the budget of `budget_h` accelerator-hours goes to them.

    `known`: what earlier nights say, `settings`: what a cell would be measured with tonight, both by cell id. A cell
    that does not fit into what is left waits, and a cheaper one after it may still be asked. One without accelerators
    costs nothing. None: there is no limit.
    """
    ids = [cell.id for cell in cells]
    pasts = [known.get(name) for name in ids]
    models = {cell.model.id for cell, past in zip(cells, pasts, strict=True) if past is not None}
    reasons = [
        _reason(cell, past, settings[name], today, models) for cell, past, name in zip(cells, pasts, ids, strict=True)
    ]
    hours = _hours(cells, pasts)
    keys = [
        (why, _since_when(cell, why, past), cost, name)
        for cell, past, (why, _), cost, name in zip(cells, pasts, reasons, hours, ids, strict=True)
    ]
    order = sorted(range(len(cells)), key=keys.__getitem__)
    _give_turns(order, pasts, reasons, hours, today)
    left = math.inf if budget_h is None else budget_h
    found = []
    for index in order:
        (why, sentence), cost = reasons[index], hours[index]
        asked = why is not Why.UNCHANGED and cost <= left
        if asked:
            left -= cost
        elif why is not Why.UNCHANGED:
            sentence += f"; it waits: of {budget_h:g} accelerator-hours {left:.1f} are left, and it takes {cost:.1f}"
        found.append(Choice(cell=cells[index], why=why, sentence=sentence, hours=cost, asked=asked))
    return found


def every(cells: Sequence[Cell], known: Mapping[str, Known]) -> list[Choice]:
    """All of them, whatever is known of them and whatever it costs."""
    hours = _hours(cells, [known.get(cell.id) for cell in cells])
    return [
        Choice(cell=cell, why=Why.ROTATION, sentence="every cell was asked for", hours=cost, asked=True)
        for cell, cost in zip(cells, hours, strict=True)
    ]


def _hours(cells: Sequence[Cell], pasts: Sequence[Known | None]) -> list[float]:
    """Accelerator-hours of each cell: its own, else the middle of its model's on the device, else a guess."""
    alike: dict[tuple[str, str], list[float]] = {}
    for cell, past in zip(cells, pasts, strict=True):
        if past is not None and past.seconds is not None:
            alike.setdefault((cell.model.id, cell.device.id), []).append(past.seconds)
    middle = {place: median(found) for place, found in alike.items()}
    return [
        (
            past.seconds
            if past is not None and past.seconds is not None
            else middle.get((cell.model.id, cell.device.id), GUESS_S)
        )
        * cell.device.accelerators
        / 3600
        for cell, past in zip(cells, pasts, strict=True)
    ]


def _reason(
    cell: Cell, before: Known | None, setting: Mapping[str, str], today: dt.date, models: Container[str]
) -> tuple[Why, str]:
    """Why a cell would be asked if there were time for everything."""
    if before is None:
        if cell.model.id not in models:
            return Why.NEW_MODEL, f"never asked, and neither was its model{_since(cell.model.released)}"
        return Why.NEW_RELEASE, f"never asked{_since(cell.release.released)}"
    age = (today - before.asked).days
    if age >= ROTATION:
        return Why.OVERDUE, f"last asked {age} nights ago"
    if before.red and not before.confirmed:
        return Why.RED, f"seen red on {before.asked}, and not yet a second time"
    if before.setting != setting and (moved := changes(before.setting, setting)):
        return Why.CHANGED, f"since {before.asked} changed: {'; '.join(moved)}"
    if before.unanswered:
        return Why.UNANSWERED, f"no answer on {before.asked}"
    return Why.UNCHANGED, f"unchanged since it was asked on {before.asked}"


def _since(released: dt.date | None) -> str:
    return f", which came on {released}" if released is not None else ""


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs, by name. What tonight nobody knows before it runs, such as a driver, is no change."""
    return [
        f"{name}: {before.get(name, 'not recorded')} to {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]


def _since_when(cell: Cell, why: Why, past: Known | None) -> dt.date:
    """News go in the order in which they came, all else by how long ago it was asked."""
    if past is not None:
        return past.asked
    return (cell.model.released if why is Why.NEW_MODEL else cell.release.released) or dt.date.min


def _give_turns(
    order: Sequence[int],
    pasts: Sequence[Known | None],
    reasons: list[tuple[Why, str]],
    hours: Sequence[float],
    today: dt.date,
) -> None:
    """Give those that nothing has happened to their turn: each night a ROTATIONth of all, the longest unasked first."""
    left_h, left = sum(hours) / ROTATION, math.ceil(hours.count(0.0) / ROTATION)
    ripe = today - dt.timedelta(days=EARLY)
    for index in order:
        past, (why, sentence), cost = pasts[index], reasons[index], hours[index]
        if past is None or past.asked > ripe or why not in (Why.OVERDUE, Why.UNCHANGED):
            continue
        if left_h > 0 if cost else left > 0:
            if why is Why.UNCHANGED:
                reasons[index] = Why.ROTATION, f"its turn: {sentence}"
            left_h -= cost
            left -= not cost
