"""Which cells a night asks, and why: news first, then what is red or has changed, then the rest in turn. Pure.

A night has so many accelerator-hours. What does not fit waits, and says so; what nothing has happened to since it was
measured is left for its turn, which comes within ROTATION nights.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from statistics import median

from matrix.cells import Cell, Record

ROTATION = 7
"""Nights after which every cell is asked again, whatever has changed or not."""

SHARE_OF_RELEASES = 0.6
"""Of what new models leave of a budget: so much new releases may take while something is overdue."""

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

    NEW_MODEL = 0  # or a new engine, device or config: what no release was asked
    NEW_RELEASE = 1
    OVERDUE = 2
    RED = 3
    CHANGED = 4
    UNANSWERED = 5
    ROTATION = 6
    UNCHANGED = 7


class Candidate(Record, frozen=True, kw_only=True):
    """A cell that could be asked, and what is known of it."""

    cell: Cell
    past: Known | None = None
    """None: it was never asked."""
    before: dt.date | None = None
    """When any release of its engine was last asked the same."""
    setting: Mapping[str, str] = {}
    """What it would be measured with tonight, in the names of `Known.setting`."""


class Choice(Record, frozen=True, kw_only=True):
    """One cell of a night: whether it is asked, and why or why not."""

    cell: Cell
    why: Why
    sentence: str
    hours: float
    """Accelerator-hours, as far as its own history, or that of its model on the device, says."""
    asked: bool


def choose(candidates: Sequence[Candidate], today: dt.date, *, budget_h: float | None = None) -> list[Choice]:
    """Decide on every cell, in the order in which the budget of `budget_h` accelerator-hours goes to them.

    A cell that does not fit into what is left waits, and a cheaper one after it may still be asked. One without
    accelerators costs nothing. None: there is no limit.
    """
    hours = _hours(candidates)
    reasons = [_reason(one, today) for one in candidates]
    keys = [
        (why, _since_when(one, why), cost, place)
        for place, (one, (why, _), cost) in enumerate(zip(candidates, reasons, hours, strict=True))
    ]
    order = [key[-1] for key in sorted(keys)]
    _give_turns(order, candidates, reasons, hours, today)
    left = math.inf if budget_h is None else budget_h
    order = _share(order, [why for why, _ in reasons], hours, left)
    found = []
    for place in order:
        (why, sentence), cost = reasons[place], hours[place]
        asked = why is not Why.UNCHANGED and cost <= left
        if asked:
            left -= cost
        elif why is not Why.UNCHANGED:
            sentence = f"{sentence}; it waits, for {cost:.1f} accelerator-hours are more than what is left"
        found.append(Choice(cell=candidates[place].cell, why=why, sentence=sentence, hours=cost, asked=asked))
    return found


def every(candidates: Sequence[Candidate]) -> list[Choice]:
    """All of them, whatever is known of them and whatever it costs."""
    return [
        Choice(cell=one.cell, why=Why.ROTATION, sentence="every cell was asked for", hours=cost, asked=True)
        for one, cost in zip(candidates, _hours(candidates), strict=True)
    ]


def _hours(candidates: Sequence[Candidate]) -> list[float]:
    """Accelerator-hours of each cell: its own, else the middle of its model's on the device, else a guess."""
    alike: dict[tuple[str, str], list[float]] = {}
    for one in candidates:
        if one.past is not None and one.past.seconds is not None:
            alike.setdefault((one.cell.model.id, one.cell.device.id), []).append(one.past.seconds)
    middle = {place: median(found) for place, found in alike.items()}
    found = []
    for one in candidates:
        took = one.past.seconds if one.past is not None else None
        if took is None:
            took = middle.get((one.cell.model.id, one.cell.device.id), GUESS_S)
        found.append(took * one.cell.device.accelerators / 3600)
    return found


def _reason(one: Candidate, today: dt.date) -> tuple[Why, str]:
    """Why a cell would be asked if there were time for everything."""
    past = one.past
    if past is None and one.before is None:
        return Why.NEW_MODEL, _new_model(one.cell.model.released)
    if past is None:
        return Why.NEW_RELEASE, _new_release(one.cell.release.released, one.before)
    age = (today - past.asked).days
    if age >= ROTATION:
        return Why.OVERDUE, f"last asked {age} nights ago"
    if past.red and not past.confirmed:
        return Why.RED, f"seen red on {past.asked}, and not yet a second time"
    if past.setting != one.setting and (moved := changes(past.setting, one.setting)):
        return Why.CHANGED, f"since {past.asked} changed: {'; '.join(moved)}"
    if past.unanswered:
        return Why.UNANSWERED, f"no answer on {past.asked}"
    return Why.UNCHANGED, _unchanged(past.asked)


# Of a hundred thousand cells most share their few days, and writing a date takes longer than deciding on a cell.
@functools.cache
def _new_model(released: dt.date | None) -> str:
    return f"the model{_came(released)} was never asked of this engine"


@functools.cache
def _new_release(released: dt.date | None, before: dt.date | None) -> str:
    return f"the release{_came(released)} was never asked; one before it on {before}"


@functools.cache
def _unchanged(asked: dt.date) -> str:
    return f"unchanged since it was asked on {asked}"


def _came(released: dt.date | None) -> str:
    return f", which came on {released}," if released is not None else ""


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs, by name. What tonight nobody knows before it runs, such as a driver, is no change."""
    return [
        f"{name}: {before.get(name, 'not recorded')} to {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]


def _since_when(one: Candidate, why: Why) -> dt.date:
    """New models go in the order in which they came, all else by how long ago it was asked, of whichever release."""
    if one.past is not None:
        return one.past.asked
    return (one.cell.model.released if why is Why.NEW_MODEL else one.before) or dt.date.min


def _share(order: Sequence[int], whys: Sequence[Why], hours: Sequence[float], budget_h: float) -> list[int]:
    """Put those new releases behind what is overdue that would take more than their share of what new models leave.

    Engines that come out every few days would else take every night's budget, and the other squares would fade.
    """
    by_why = {why: [place for place in order if whys[place] is why] for why in Why}
    left = budget_h - sum(hours[index] for index in by_why[Why.NEW_MODEL])
    overdue = sum(hours[index] for index in by_why[Why.OVERDUE])
    room = max(left - overdue, left * SHARE_OF_RELEASES)
    first: list[int] = []
    behind: list[int] = []
    for index in by_why[Why.NEW_RELEASE]:
        room -= hours[index]
        (first if room >= 0 else behind).append(index)
    news, later = [*by_why[Why.NEW_MODEL], *first], [why for why in Why if why > Why.OVERDUE]
    return [*news, *by_why[Why.OVERDUE], *behind, *(index for why in later for index in by_why[why])]


def _give_turns(
    order: Sequence[int],
    candidates: Sequence[Candidate],
    reasons: list[tuple[Why, str]],
    hours: Sequence[float],
    today: dt.date,
) -> None:
    """Give those that nothing has happened to their turn: each night a ROTATIONth of all, the longest unasked first."""
    left_h, left = sum(hours) / ROTATION, math.ceil(hours.count(0.0) / ROTATION)
    ripe = today - dt.timedelta(days=EARLY)
    for place in order:
        past, (why, sentence), cost = candidates[place].past, reasons[place], hours[place]
        if past is None or past.asked > ripe or why not in (Why.OVERDUE, Why.UNCHANGED):
            continue
        if left_h > 0 if cost else left > 0:
            if why is Why.UNCHANGED:
                reasons[place] = Why.ROTATION, f"its turn: {sentence}"
            left_h -= cost
            left -= not cost
