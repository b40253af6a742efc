"""Which result holds, of all that were ever measured."""

from __future__ import annotations

import pytest

from matrix.results import Status
from reports.standing import Standing, standing
from tests.reports.samples import cell, result, whole_cell


def test_a_later_result_that_settles_replaces_an_earlier_one() -> None:
    """A crash that is gone is gone."""
    held = standing([result("loading", Status.CRASH), result("loading", minute=1)])
    assert [(one.result.verdict.status, one.later) for one in held] == [(Status.PASS, None)]


@pytest.mark.parametrize("status", [Status.ERROR, Status.NOTRUN, Status.UNDECIDED])
def test_a_later_result_that_settles_nothing_stands_beside_the_earlier_one(status: Status) -> None:
    """Our failure tonight does not take away what was decided yesterday, and is not hidden by it."""
    later = result("correctness", status, minute=1, run_id="2")
    (held,) = standing([result("correctness"), later])
    assert (held.result.verdict.status, held.later) == (Status.PASS, later)


def test_doubt_about_the_reference_takes_the_earlier_result_away() -> None:
    """Right or wrong, it was so by the same reference; a night that could not ask does not bring it back."""
    doubt = result("correctness", Status.REF_SUSPECT, minute=1)
    later = result("correctness", Status.ERROR, minute=2)
    assert standing([result("correctness", Status.FAIL), doubt]) == [Standing(result=doubt)]
    assert standing([result("correctness"), doubt, later]) == [Standing(result=doubt, later=later)]


def test_an_exclusion_takes_the_earlier_result_away() -> None:
    """Whoever excludes a cell says that it is not asked any more."""
    (held,) = standing([result("correctness"), result("correctness", Status.SKIP, minute=1)])
    assert (held.result.verdict.status, held.later) == (Status.SKIP, None)


def test_what_an_engine_that_broke_could_not_be_asked_is_not_known_from_before() -> None:
    """A PASS of yesterday does not stand beside a crash of tonight."""
    before = whole_cell(cell())
    crash = result("loading", Status.CRASH, minute=3, run_id="2")
    unasked = result("correctness", Status.NOTRUN, minute=4, run_id="2")
    held = {one.result.probe: one.result for one in standing([*before, crash, unasked])}
    assert held["correctness"] == unasked
