"""Which engine to use today, and how long each took."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from matrix.chronicle import Moment
from matrix.errors import ARCHITECTURE_UNKNOWN
from matrix.results import Result, Status
from reports.adoption import choice, days_to_levels, decided_share, measured
from reports.grid import Place, Square, grid
from reports.levels import Finding
from reports.standing import standing
from reports.timeline import Change
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
    assert chosen(engine("old", 99.0, nights_ago=8), engine("new", 1.0)) == ("new", 1.0)
    assert chosen(engine("old", 99.0, nights_ago=7), engine("new", 1.0)) == ("old", 99.0)


def change(
    release: str, released: int | None, status: Status = Status.PASS, *, build: str = "official", device: str = "cpu",
    reason: str = "",
) -> Change:  # fmt: skip
    """Measured on the ninth of January, whenever it was released."""
    engine = release.partition("-")[0]
    return Change(
        place=Place(device=device, model="small", engine=engine, channel="stable"),
        release=release,
        released=None if released is None else dt.date(2026, 1, released),
        day=dt.date(2026, 1, 9),
        build=build,
        finding=Finding(
            cell_id=f"{release}__small__{device}__default", probe="loading", status=status, reason=reason,
            answered=status is Status.PASS,
        ),
    )  # fmt: skip


def words(changes: list[Change], **made: list[Moment]) -> dict[str, dict[int, str]]:
    found = days_to_levels(dt.date(2026, 1, 2), measured(changes)["small"], dt.date(2026, 1, 10), made)
    return {engine: {level: days.words for level, days in by_level.items()} for engine, by_level in found.items()}


def test_days_to_a_level_count_to_the_day_of_the_release_that_has_it() -> None:
    """Whenever it was measured; exact where the release before it fell short, and on whatever device was first."""
    lacks = f"{ARCHITECTURE_UNKNOWN}: small"
    assert words([
        change("alpha-2", 5), change("alpha-1", 3, Status.FAIL, reason=lacks), change("alpha-1", 3, device="gpu"),
        change("beta-2", 6), change("beta-1", 4, Status.FAIL, reason=lacks),
        change("gamma-1", None),
    ]) == {
        "alpha": {0: "at most 1", 1: "at most 1"},
        "beta": {0: "at most 2", 1: "4"},
        "gamma": {0: "at most 7", 1: "at most 7"},
    }  # fmt: skip


def test_what_somebody_elses_build_breaks_is_not_known_of_the_engine() -> None:
    """Only that it lacks a class is."""
    broken = [change("alpha-1", 3, Status.CRASH, build="third-party"), change("alpha-2", 5, build="third-party")]
    assert words(broken)["alpha"][1] == "at most 3"
    official = [change("alpha-1", 3, Status.CRASH), change("alpha-2", 5)]
    assert words(official)["alpha"][1] == "3"


def test_a_release_in_between_that_nobody_asked_makes_an_interval() -> None:
    """The time machine knows that it is there; those that were measured are in its list as well."""
    made = [Moment(release=f"alpha-{n}", released=dt.date(2026, 1, day)) for n, day in (("1", 3), ("1.5", 4), ("2", 7))]
    short = [change("alpha-1", 3, Status.CRASH), change("alpha-2", 7)]
    assert words(short, alpha=made)["alpha"][1] == "2 to 5"
    assert words(short, alpha=[made[0], made[2]], beta=made)["alpha"][1] == "5"


def test_days_are_counted_from_nothing_where_nobody_knows_from_what() -> None:
    """A model without a day of release."""
    assert days_to_levels(None, measured([change("alpha-1", 3)])["small"], dt.date(2026, 1, 10), {}) == {}


@pytest.mark.parametrize(("loading", "share"), [(Status.PASS, 1.0), (Status.ERROR, 0.5), (Status.CRASH, 1.0)])
def test_the_share_of_decided_squares_counts_grey_ones_against_us(loading: Status, share: float) -> None:
    """A red one is decided."""
    found = squares(engine("alpha"), [result("loading", loading, of=cell("beta"))])
    assert decided_share(found) == share
    assert decided_share([]) is None
