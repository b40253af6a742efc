"""Which release is tried next, and what follows from the trials."""

from __future__ import annotations

import datetime as dt
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from matrix.bisection import Answer, Bisection, Outcome, Trial, answer
from matrix.results import Result, Status
from probes import bisect, trials
from tests.reports.samples import result

DAY = dt.date(2026, 1, 1)


def searched(real: list[Outcome], *, from_good: bool = False) -> dict[int, Outcome]:
    """Try until nothing is left to learn; the outcomes by index, in the order of trying."""
    known: dict[int, Outcome] = {}
    while (index := bisect.following(len(real), known, from_good=from_good)) is not None:
        assert index not in known
        known[index] = real[index]
    return known


def bisection(known: dict[int, Outcome], count: int, **more: object) -> Bisection:
    trials = [
        Trial(version=f"1.{index}", released=DAY + dt.timedelta(days=index), outcome=outcome, why="seen")
        for index, outcome in known.items()
    ]
    made = Bisection(
        name="search", engine="alpha", cell_id="cell", distribution="alpha", build="official", build_note="",
        versions=tuple(f"1.{index}" for index in range(count)), trials=tuple(trials), harness_version="0",
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


@given(count=some.integers(1, 200), first_bad=some.integers(0, 199), from_good=some.booleans())
def test_where_every_release_can_be_tried_the_first_bad_one_is_found_in_logarithmic_time(
    count: int, first_bad: int, from_good: bool
) -> None:
    """Also where all are bad; of the last one, which is tried first, it is known whether there is a fault at all."""
    real: list[Outcome] = ["bad" if index >= first_bad else "good" for index in range(count)]
    known = searched(real, from_good=from_good)
    found = answer(bisection(known, count))
    if first_bad >= count:
        assert list(known) == [count - 1] and found.first_bad is None
        return
    assert found.first_bad == f"1.{first_bad}"
    assert found.last_good == (f"1.{first_bad - 1}" if first_bad else None)
    assert len(known) <= 2 * math.ceil(math.log2(count + 1)) + 2


@given(real=some.lists(some.sampled_from(["good", "bad", "untestable"]), max_size=60), from_good=some.booleans())
def test_whatever_comes_out_the_search_ends_and_claims_no_more_than_was_seen(
    real: list[Outcome], from_good: bool
) -> None:
    """Between the two releases that it names there is none that could be tried."""
    real = [*real, "bad"]
    known = searched(real, from_good=from_good)
    found = answer(bisection(known, len(real)))
    assert found.first_bad is not None
    high = int(found.first_bad.removeprefix("1."))
    assert real[high] == "bad"
    if found.last_good is not None:
        low = int(found.last_good.removeprefix("1."))
        assert low < high and real[low] == "good"
        assert [known[index] for index in range(low + 1, high)] == ["untestable"] * (high - low - 1)
    else:
        assert "good" not in known.values()


def test_where_old_releases_cannot_be_tried_it_is_said_how_far_back_the_fault_was_seen() -> None:
    """The oldest that can be tried is found as a border is."""
    real: list[Outcome] = ["untestable" if index < 20 else "bad" for index in range(32)]
    known = searched(real)
    assert answer(bisection(known, 32)).sentence == (
        "in every release tried, 7 of them, back to 1.20 (2026-01-21); older ones could not be tried (1.15, 1.0, 1.19)"
    )


FIRST = "1.{} (2026-01-0{}) is the first that shows it, 1.{} (2026-01-0{}) the last without"
MENDED = "1.0 (2026-01-01) is the first without it, 1.1 (2026-01-02) the last that shows it"


@pytest.mark.parametrize(
    ("outcomes", "mended", "expected"),
    [
        ({3: "bad", 0: "good", 2: "bad", 1: "good"}, False, FIRST.format(2, 3, 1, 2)),
        (
            {3: "bad", 0: "good", 1: "untestable", 2: "untestable"},
            False,
            f"{FIRST.format(3, 4, 0, 1)}; 1.1, 1.2 between them could not be tried",
        ),
        (
            {3: "bad", 0: "bad", 2: "good"},
            False,
            f"{FIRST.format(3, 4, 2, 3)}; 1.0 had it too, so it came, went and came again",
        ),
        ({1: "bad", 0: "good"}, True, MENDED),
        ({3: "good"}, False, "1.3 does not show it: seen"),
        ({3: "bad", 2: "untestable"}, False, "seen in 1.3; of 1 others none could be tried"),
    ],
)
def test_the_answer_in_words(outcomes: dict[int, Outcome], mended: bool, expected: str) -> None:
    """What is named was tried."""
    assert answer(bisection(outcomes, max(outcomes) + 1, mended=mended)).sentence == expected


def test_an_answer_has_its_parts_by_name() -> None:
    """For the grid and for issues."""
    found = answer(bisection({2: "bad", 0: "good", 1: "untestable"}, 3))
    assert found == Answer(first_bad="1.2", last_good="1.0", between=("1.1",), sentence=found.sentence)


@pytest.mark.parametrize(
    ("outcomes", "counts", "flaky"),
    [
        (["good", "good"], "good", False),
        (["good", "bad"], "bad", True),
        (["good", "untestable"], "untestable", True),
        (["bad"], "bad", False),
    ],
)
def test_of_runs_that_do_not_agree_the_one_that_shows_the_fault_counts(
    outcomes: list[Outcome], counts: Outcome, flaky: bool
) -> None:
    """A release is good only where every run of it was."""
    seen = [Trial(version="1.0", released=None, outcome=one, why=one) for one in outcomes]
    found = trials.together(seen)
    assert (found.outcome, found.why, found.runs, found.flaky) == (counts, counts, len(outcomes), flaky)


def test_an_engine_that_broke_before_the_probe_is_told_by_what_broke() -> None:
    """NOTRUN says nothing by itself."""
    crash, left = result("loading", Status.CRASH), result("correctness", Status.NOTRUN)
    passed = result("correctness", Status.PASS)

    def told(*results: Result) -> Result | None:
        return bisect.telling(results, "correctness")

    assert told(crash, left) is crash
    assert told(result("loading", Status.PASS), passed) is passed
    assert told(left) is left
    assert told() is None
