"""The exit status of a run."""

from __future__ import annotations

import pytest

from matrix.results import Status
from reports.outcome import exit_status
from tests.reports.samples import result


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([Status.PASS, Status.PASS], 0),
        ([Status.PASS, Status.UNDECIDED, Status.SKIP, Status.NOTRUN], 0),
        ([Status.PASS, Status.REF_SUSPECT], 0),
        ([Status.REF_SUSPECT], 3),
        ([Status.PASS, Status.FAIL], 1),
        ([Status.PASS, Status.DEGRADED], 1),
        ([Status.PASS, Status.CRASH], 1),
        ([Status.PASS, Status.TIMEOUT], 1),
        ([Status.PASS, Status.ERROR], 3),
        ([Status.FAIL, Status.ERROR], 3),
        ([Status.SKIP, Status.NOTRUN, Status.UNDECIDED], 3),
        ([], 3),
    ],
)
def test_statuses_give_the_exit_status(statuses: list[Status], code: int) -> None:
    """ERROR or nothing decided outranks an engine's fault, which outranks success."""
    assert exit_status([result(status=status) for status in statuses]) == code


def test_a_foreseen_failure_does_not_fail_a_run() -> None:
    """What rules.toml expects is no news."""
    assert exit_status([result(status=Status.FAIL, expected=Status.FAIL), result("throughput")]) == 0


def test_a_foreseen_failure_that_passes_fails_the_run() -> None:
    """A rule that no longer holds must be removed, so it is news."""
    assert exit_status([result(status=Status.PASS, expected=Status.FAIL)]) == 1


def test_another_failure_than_the_foreseen_one_fails_the_run() -> None:
    """An engine that crashes where it was expected to be wrong is news."""
    assert exit_status([result(status=Status.CRASH, expected=Status.FAIL)]) == 1


def test_a_suspected_reference_is_no_news_of_a_foreseen_failure() -> None:
    """A rule that expects a fault is neither borne out nor overtaken."""
    assert exit_status([result(status=Status.REF_SUSPECT, expected=Status.FAIL), result("throughput")]) == 0


def test_a_suspected_reference_blames_nobody_and_was_measured() -> None:
    """Asking once more would give the same answer."""
    status = Status("REF-SUSPECT")
    assert (status.blames_engine, status.decided, status.measured, status.settles) == (False, False, True, True)
