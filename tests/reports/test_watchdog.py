"""What the watchdog says of nights and of the page, to the second and to the cell."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from matrix.plan import Night
from matrix.results import Result, Status
from reports.watchdog import LATE, Page, markdown, newest, of_nights, of_page
from tests.reports.samples import cell, result

PLANNED = dt.datetime(2026, 1, 2, 2, 17, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
CELLS = tuple(cell(engine) for engine in ("alpha", "beta", "gamma", "delta"))
URL = "https://lab.example/readiness/"


def night(name: str = "1001", planned_at: dt.datetime = PLANNED, asked: int = 4, profile: str = "nightly") -> Night:
    cells = tuple(one.id for one in CELLS[:asked])
    return Night(night=name, planned_at=planned_at, profile=profile, cells=cells, left_out={})


def measured(*statuses: Status, at: dt.datetime = PLANNED) -> list[Result]:
    """One result of each of the first cells."""
    found = [result(status=status, of=of) for of, status in zip(CELLS, statuses, strict=False)]
    return [
        msgspec.structs.replace(one, provenance=msgspec.structs.replace(one.provenance, started_at=at)) for one in found
    ]


def wrong(of: Night | None, results: list[Result], now: dt.datetime) -> list[bool]:
    return [one.wrong for one in of_nights("nightly", of, results, now)]


GOOD = (Status.PASS, Status.FAIL, Status.CRASH, Status.PASS)


@pytest.mark.parametrize(("age", "late"), [(LATE, False), (LATE + SECOND, True), (dt.timedelta(0), False)])
def test_a_night_is_late_after_26_hours_and_not_before(age: dt.timedelta, late: bool) -> None:
    """To the second."""
    assert wrong(night(), measured(*GOOD), PLANNED + age) == [late, False]


@pytest.mark.parametrize(("age", "late"), [(LATE, False), (LATE + SECOND, True)])
def test_a_night_that_takes_hours_counts_from_the_last_that_it_decided(age: dt.timedelta, late: bool) -> None:
    """Its record comes with its results: counted from its plan, a long night would be late before the next can come."""
    last = PLANNED + dt.timedelta(hours=7)
    assert wrong(night(), measured(*GOOD, at=last), last + age) == [late, False]


def test_what_was_not_decided_keeps_no_night_alive() -> None:
    """Errors of ours may go on for ever."""
    at = PLANNED + dt.timedelta(hours=7)
    assert wrong(night(), measured(*[Status.ERROR] * 4, at=at), PLANNED + LATE + SECOND) == [True, True]


@pytest.mark.parametrize(
    ("statuses", "few"),
    [
        ((Status.PASS, Status.PASS), False),
        ((Status.PASS, Status.ERROR, Status.UNDECIDED, Status.FAIL), False),
        ((Status.PASS,), True),
        ((Status.PASS, Status.ERROR, Status.NOTRUN, Status.TIMEOUT), False),
        ((Status.PASS, Status.ERROR, Status.NOTRUN, Status.SKIP), True),
        ((), True),
    ],
)
def test_half_of_the_cells_is_enough_and_less_is_not(statuses: tuple[Status, ...], few: bool) -> None:
    """Of the four that it set out to ask; what did not report is not decided."""
    assert wrong(night(), measured(*statuses), PLANNED + SECOND) == [False, few]


def test_of_an_odd_number_the_smaller_half_is_too_little() -> None:
    """One of three is less than half."""
    assert wrong(night(asked=3), measured(Status.PASS), PLANNED) == [False, True]
    assert wrong(night(asked=3), measured(Status.PASS, Status.PASS), PLANNED) == [False, False]


def test_a_cell_counts_once_whatever_its_probes_say() -> None:
    """One probe that was decided decides it."""
    probes = [result("loading", Status.ERROR, of=CELLS[0]), result("throughput", Status.PASS, of=CELLS[0])]
    assert wrong(night(asked=2), probes, probes[0].provenance.started_at) == [False, False]


@pytest.mark.parametrize(("age", "late"), [(LATE, False), (LATE + SECOND, True)])
def test_a_night_with_nothing_to_ask_is_alive_by_its_plan(age: dt.timedelta, late: bool) -> None:
    """Everything was unchanged; half of nothing is nothing."""
    found = of_nights("nightly", night(asked=0), [], PLANNED + age)
    assert [one.wrong for one in found] == [late, False]
    assert found[1].sentence == "nightly: night 1001 had nothing to ask"


def test_no_night_at_all_is_wrong() -> None:
    """Nothing is silently green."""
    (found,) = of_nights("nightly", None, [], PLANNED)
    assert (found.wrong, found.sentence) == (True, "nightly: there is no night at all")


def test_the_newest_night_is_that_of_the_profile_that_was_planned_by_now() -> None:
    """A night of another profile does not hide that one is missing, and neither does a plan from the future."""
    nights = [
        night("2", PLANNED + SECOND),
        night("1"),
        night("3", PLANNED + 2 * SECOND, profile="microscope"),
        night("4", PLANNED + 4 * SECOND),
    ]
    found = newest(nights, "nightly", PLANNED + 3 * SECOND)
    assert found is not None and found.night == "2"
    assert newest(nights, "quick", PLANNED + LATE) is None


def test_sentences_say_what_was_seen_and_what_was_expected() -> None:
    """A reader of the mail need not look anything up."""
    late, few = of_nights("nightly", night(), measured(Status.PASS), PLANNED + dt.timedelta(hours=31))
    name = "nightly: night 1001"
    assert late.sentence == (
        f"{name}, planned on 2026-01-02 02:17 UTC, was last heard of 31.0 hours ago; 26.0 hours is the limit"
    )
    assert few.sentence == f"{name}: 1 of 4 cells decided, 3 did not report; fewer than half"
    assert markdown([late, few]).splitlines()[2:] == [f"- 🔴 {late.sentence}", f"- 🔴 {few.sentence}"]


@pytest.mark.parametrize(
    ("status", "made_at", "is_wrong", "said"),
    [
        (200, PLANNED, False, "was made 26.0 hours ago, on 2026-01-02 02:17 UTC"),
        (200, PLANNED - SECOND, True, "26.0 hours is the limit"),
        (200, None, True, "does not say when it was made: not JSON"),
        (404, None, True, "does not answer: HTTP status 404"),
        (503, None, True, "does not answer: HTTP status 503"),
        (None, None, True, "does not answer: not JSON"),
    ],
)
def test_a_page_is_young_or_wrong(status: int | None, made_at: dt.datetime | None, is_wrong: bool, said: str) -> None:
    """To the second; a page that should be there and is not is broken."""
    found = of_page(Page(url=URL, status=status, made_at=made_at, problem="not JSON"), PLANNED + LATE)
    assert found.wrong is is_wrong
    assert said in found.sentence


def test_a_page_that_is_off_is_no_fault() -> None:
    """A repository may have no Pages."""
    found = of_page(Page(url=URL, status=404, made_at=None, off=True), PLANNED)
    assert (found.wrong, found.sentence) == (False, f"the page is off: {URL} answers 404")
