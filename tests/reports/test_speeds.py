"""Speeds from result files: what belongs to one history, and what is said of a step in it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from matrix.results import Result, Status, write_result
from reports import speeds, store
from reports.speeds import Measured
from reports.stored_speeds import measured
from tests.reports.samples import FIRST_NIGHT, night


def stored(folder: Path, results: list[Result]) -> list[Measured]:
    """The speeds of some results that were written, each in a run of its own."""
    for number, result in enumerate(results):
        write_result(folder / f"run-{number}", result)
    with store.opened(folder) as found:
        return list(measured(found, FIRST_NIGHT.date()))


def values(folder: Path, results: list[Result]) -> list[float]:
    (nights,) = speeds.histories(stored(folder, results)).values()
    return [one.speed for one in nights]


def test_a_new_release_goes_on_with_the_history_of_the_old(tmp_path: Path) -> None:
    """The engine's version is what changes, and what a step is named by."""
    results = [night(i, 40.0 if i < 4 else 30.0, version="1.0" if i < 4 else "1.1") for i in range(8)]
    assert [one.sentence for one in speeds.changed(stored(tmp_path, results))] == [
        "small on alpha (stable, cpu), D1: regression since 2026-01-05: \N{MINUS SIGN}25% "
        "(engine: 1.0 to 1.1; engine says: 1.0 to 1.1)"
    ]


def test_a_new_driver_is_named_beside_a_step(tmp_path: Path) -> None:
    """It may slow every engine of a machine."""
    nights = [night(i, 40.0 if i < 4 else 30.0) for i in range(8)]
    results = [
        msgspec.structs.replace(
            one, provenance=msgspec.structs.replace(one.provenance, driver="570" if number < 4 else "580")
        )
        for number, one in enumerate(nights)
    ]
    (found,) = speeds.changed(stored(tmp_path, results))
    assert found.change.changed == ("driver: 570 to 580",)


def test_a_slow_device_is_no_slow_engine(tmp_path: Path) -> None:
    """Speeds are divided by the device's own, and keep their size."""
    assert values(tmp_path, [night(0, 40.0, canary=10.0), night(1, 20.0, canary=5.0), night(2, 41.0, canary=10.0)]) == [
        40.0, 40.0, 41.0,
    ]  # fmt: skip


def test_a_night_without_a_canary_leaves_all_as_measured(tmp_path: Path) -> None:
    """Corrected and uncorrected speeds are not compared."""
    assert values(tmp_path, [night(0, 40.0, canary=10.0), night(1, 20.0)]) == [40.0, 20.0]


def test_of_several_measurements_of_a_day_the_last_counts(tmp_path: Path) -> None:
    """Two runs within a day (UTC), and one of the next."""
    later = night(0, 44.0)
    later = msgspec.structs.replace(
        later, provenance=msgspec.structs.replace(later.provenance, started_at=FIRST_NIGHT + dt.timedelta(hours=1))
    )
    assert values(tmp_path, [later, night(0, 40.0), night(1, 41.0)]) == [44.0, 41.0]


def test_where_speeds_are_not_judged_there_is_no_history(tmp_path: Path) -> None:
    """Each night may have had another processor."""
    made = night(0, 40.0)
    device = msgspec.structs.replace(made.cell.device, speed_judged=False)
    there = msgspec.structs.replace(made, cell=msgspec.structs.replace(made.cell, device=device))
    assert stored(tmp_path, [there]) == []


def test_what_was_not_decided_or_has_no_speed_is_no_night(tmp_path: Path) -> None:
    """A disturbed night, and one in which every token came at once."""
    disturbed = night(1, 10.0)
    disturbed = msgspec.structs.replace(
        disturbed, verdict=msgspec.structs.replace(disturbed.verdict, status=Status.ERROR)
    )
    assert values(tmp_path, [night(0, 40.0), disturbed, night(2, None)]) == [40.0]
