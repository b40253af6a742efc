"""Speeds from result files: what belongs to one history, and what is said of a step in it."""

from __future__ import annotations

import datetime as dt

import msgspec

from matrix.results import Result, Status
from reports import speeds
from tests.reports.samples import FIRST_NIGHT, night


def values(results: list[Result]) -> list[float]:
    (nights,) = speeds.histories(results).values()
    return [one.speed for one in nights]


def test_a_new_release_goes_on_with_the_history_of_the_old() -> None:
    """The engine's version is what changes, and what a step is named by."""
    found = speeds.changed([night(i, 40.0 if i < 4 else 30.0, version="1.0" if i < 4 else "1.1") for i in range(8)])
    assert [one.sentence for one in found] == [
        "small on alpha (stable, cpu), D1: regression since 2026-01-05: \N{MINUS SIGN}25% "
        "(engine: 1.0 to 1.1; engine says: 1.0 to 1.1)"
    ]


def test_a_slow_device_is_no_slow_engine() -> None:
    """Speeds are divided by the device's own, and keep their size."""
    assert values([night(0, 40.0, canary=10.0), night(1, 20.0, canary=5.0), night(2, 41.0, canary=10.0)]) == [
        40.0, 40.0, 41.0,
    ]  # fmt: skip


def test_a_night_without_a_canary_leaves_all_as_measured() -> None:
    """Corrected and uncorrected speeds are not compared."""
    assert values([night(0, 40.0, canary=10.0), night(1, 20.0)]) == [40.0, 20.0]


def test_of_several_measurements_of_a_day_the_last_counts() -> None:
    """Two runs within a day (UTC), and one of the next."""
    later = night(0, 44.0)
    later = msgspec.structs.replace(
        later, provenance=msgspec.structs.replace(later.provenance, started_at=FIRST_NIGHT + dt.timedelta(hours=1))
    )
    assert values([later, night(0, 40.0), night(1, 41.0)]) == [44.0, 41.0]


def test_where_speeds_are_not_judged_there_is_no_history() -> None:
    """Each night may have had another processor."""
    made = night(0, 40.0)
    device = msgspec.structs.replace(made.cell.device, speed_judged=False)
    there = msgspec.structs.replace(made, cell=msgspec.structs.replace(made.cell, device=device))
    assert speeds.histories([there]) == {}


def test_what_was_not_decided_or_has_no_speed_is_no_night() -> None:
    """A disturbed night, and one in which every token came at once."""
    disturbed = night(1, 10.0)
    disturbed = msgspec.structs.replace(
        disturbed, verdict=msgspec.structs.replace(disturbed.verdict, status=Status.ERROR)
    )
    assert values([night(0, 40.0), disturbed, night(2, None)]) == [40.0]
