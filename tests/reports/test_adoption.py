"""Which engine to use today, and how long each took."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from matrix.results import Result, Status
from reports.adoption import choice, days_to_levels, decided_share
from reports.grid import Place, Square, grid
from reports.standing import standing
from reports.timeline import Step
from tests.reports.samples import cell, result, whole_cell

TODAY = dt.date(2026, 1, 2)


def engine(name: str, speed: float | None = None, *, nights_ago: int = 0, **statuses: Status) -> list[Result]:
    numbers = {} if speed is None else {"D1_output_tokens_per_s": speed}
    of = cell(name)
    found = [*whole_cell(of, **statuses)[:2], result("throughput", of=of, numbers=numbers, minute=2)]
    ago = dt.timedelta(days=nights_ago)
    return [
        msgspec.structs.replace(
            one, provenance=msgspec.structs.replace(one.provenance, started_at=one.provenance.started_at - ago)
        )
        for one in found
    ]


def squares(*engines: list[Result]) -> tuple[Square, ...]:
    return grid(standing([one for found in engines for one in found])).squares


def chosen(*engines: list[Result]) -> tuple[str, float | None] | None:
    found = choice(squares(*engines), TODAY)
    return None if found is None else (found.square.place.engine, found.speed)


def test_of_engines_at_one_level_the_fastest_is_to_be_used() -> None:
    """And one whose speed is not known after those whose is."""
    assert chosen(engine("alpha", 10.0), engine("beta", 20.0), engine("gamma")) == ("beta", 20.0)
    assert chosen(engine("gamma")) == ("gamma", None)


def test_no_speed_makes_up_for_being_wrong_and_where_none_is_right_none_is_named() -> None:
    """Right comes first."""
    wrong = engine("fast", 99.0, correctness=Status.FAIL)
    assert chosen(wrong, engine("slow", 1.0)) == ("slow", 1.0)
    assert chosen(wrong) is None
    assert choice([], TODAY) is None


def test_what_nobody_has_asked_for_nights_comes_last() -> None:
    """It may have changed since."""
    assert chosen(engine("old", 99.0, nights_ago=4), engine("new", 1.0)) == ("new", 1.0)
    assert chosen(engine("old", 99.0, nights_ago=3), engine("new", 1.0)) == ("old", 99.0)


def step(day: int, level: int | None) -> Step:
    return Step(day=dt.date(2026, 1, day), release="x", level=level, colour="right", blocked_by="")


def at(name: str, model: str = "small", device: str = "cpu") -> Place:
    return Place(device=device, model=model, engine=name, channel="stable")


def test_days_to_a_level_count_from_the_release_on_whatever_device_was_first() -> None:
    """One that reached it before took none; a level nobody reached is not there."""
    timelines = {
        at("alpha"): (step(3, 1), step(5, 3)),
        at("alpha", device="gpu"): (step(4, 2), step(9, 4)),
        at("beta"): (step(1, 0),),
        at("beta", model="other"): (step(1, 5),),
    }
    assert days_to_levels(dt.date(2026, 1, 2), timelines, "small") == {
        "alpha": {0: 1, 1: 1, 2: 2, 3: 3, 4: 7},
        "beta": {0: 0},
    }
    assert days_to_levels(None, timelines, "small") == {}


@pytest.mark.parametrize(("loading", "share"), [(Status.PASS, 1.0), (Status.ERROR, 0.5), (Status.CRASH, 1.0)])
def test_the_share_of_decided_squares_counts_grey_ones_against_us(loading: Status, share: float) -> None:
    """A red one is decided."""
    found = squares(engine("alpha"), [result("loading", loading, of=cell("beta"))])
    assert decided_share(found) == share
    assert decided_share([]) is None
