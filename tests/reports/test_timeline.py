"""When each square reached which level."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from matrix.cells import HISTORY, Cell
from matrix.results import Result, Status, write_result
from reports import questions, store
from reports.timeline import Step, on, timelines
from tests.reports.samples import cell, result, whole_cell

RELEASED = msgspec.structs.replace(cell().release, released=dt.date(2026, 1, 1))
FIRST = msgspec.structs.replace(cell(), release=RELEASED)
NEXT = msgspec.structs.replace(
    FIRST, release=msgspec.structs.replace(RELEASED, version="1.1", released=dt.date(2026, 1, 4))
)


def steps(folder: Path, *nights: list[Result]) -> tuple[Step, ...]:
    """The one timeline of some nights, of which the first is the second of January."""
    for number, found in enumerate(nights):
        for minute, one in enumerate(found):
            started_at = dt.datetime(2026, 1, 2 + number, 3, minute, tzinfo=dt.UTC)
            provenance = msgspec.structs.replace(one.provenance, run_id=f"run-{number}", started_at=started_at)
            write_result(folder / provenance.run_id, msgspec.structs.replace(one, provenance=provenance))
    with store.opened(folder) as opened:
        (only,) = timelines(questions.changes(opened)).values()
    return only


def told(steps: tuple[Step, ...]) -> list[tuple[int, str, int | None, str]]:
    return [(step.day.day, step.release, step.level, step.colour) for step in steps]


def wrong(of: Cell = FIRST) -> list[Result]:
    return whole_cell(of, correctness=Status.FAIL)


def test_a_step_is_a_night_that_changed_what_is_shown(tmp_path: Path) -> None:
    """Right for two nights, wrong for two, then right again; nights that settle nothing change nothing."""
    right, nothing = whole_cell(FIRST), [result("loading", Status.ERROR, of=FIRST)]
    assert told(steps(tmp_path, right, right, nothing, wrong(), wrong(), right)) == [
        (2, "alpha-1.0", 3, "right"),
        (5, "alpha-1.0", 2, "wrong"),
        (7, "alpha-1.0", 3, "right"),
    ]


def test_a_night_counts_as_it_ended(tmp_path: Path) -> None:
    """Between loading and correctness an engine is at level 1 for a minute, which nobody need know."""
    assert told(steps(tmp_path, whole_cell(FIRST))) == [(2, "alpha-1.0", 3, "right")]


def test_a_new_release_takes_the_place_and_an_old_one_measured_again_does_not(tmp_path: Path) -> None:
    """It begins with nothing of what the older one had earned."""
    new = [result("loading", of=NEXT)]
    assert told(steps(tmp_path, whole_cell(FIRST), new, wrong(), whole_cell(NEXT))) == [
        (2, "alpha-1.0", 3, "right"),
        (3, "alpha-1.1", 1, "grey"),
        (5, "alpha-1.1", 3, "right"),
    ]


def test_numbers_that_change_what_is_earned_are_a_change(tmp_path: Path) -> None:
    """Both nights FAIL; in the second the logprobs are not finite any more."""
    broken = result("correctness", Status.FAIL, of=FIRST, numbers={"prefill_nonfinite": 2.0})
    assert told(steps(tmp_path, wrong(), [result("loading", of=FIRST), broken])) == [
        (2, "alpha-1.0", 2, "wrong"),
        (3, "alpha-1.0", 1, "wrong"),
    ]


def test_what_could_not_be_asked_because_the_engine_broke_is_not_known_from_before(tmp_path: Path) -> None:
    """A PASS of yesterday does not stand beside a crash of tonight."""
    crash = [result("loading", Status.CRASH, of=FIRST), result("correctness", Status.NOTRUN, of=FIRST)]
    assert told(steps(tmp_path, whole_cell(FIRST), crash))[-1] == (3, "alpha-1.0", 0, "wrong")


def test_a_square_of_which_nothing_was_ever_decided_has_no_steps(tmp_path: Path) -> None:
    """Excluded, or never measured."""
    assert steps(tmp_path, [result("loading", Status.SKIP, of=FIRST)]) == ()


def test_what_a_square_showed_on_a_day(tmp_path: Path) -> None:
    """Nothing before it was first decided; after its last change what that left."""
    found = steps(tmp_path, [result("loading", of=FIRST)], whole_cell(FIRST), wrong())
    assert on(found, dt.date(2026, 1, 1)) is None
    shown = [on(found, dt.date(2026, 1, day)) for day in (2, 3, 9)]
    assert [step.level for step in shown if step is not None] == [1, 3, 2]


def test_what_the_time_machine_finds_counts_from_the_day_of_the_release(tmp_path: Path) -> None:
    """An old release that is asked long after a newer one shows what the square would have shown then."""
    newer = msgspec.structs.replace(FIRST, release=msgspec.structs.replace(FIRST.release, released=dt.date(2026, 1, 1)))
    old = msgspec.structs.replace(
        FIRST, release=msgspec.structs.replace(FIRST.release, version="0.9", released=dt.date(2025, 12, 1))
    )
    past = [
        msgspec.structs.replace(one, provenance=msgspec.structs.replace(one.provenance, profile=HISTORY))
        for one in whole_cell(old, correctness=Status.FAIL)
    ]
    found = steps(tmp_path, whole_cell(newer), past)
    assert [(step.day, step.release, step.level) for step in found] == [
        (dt.date(2025, 12, 1), "alpha-0.9", 2), (dt.date(2026, 1, 2), "alpha-1.0", 3),
    ]  # fmt: skip
