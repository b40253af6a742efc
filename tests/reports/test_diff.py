"""What differs between two nights."""

from __future__ import annotations

import msgspec

from matrix.results import Result, Status
from reports.diff import diff
from tests.reports.samples import cell, night, result


def speeds(**numbers: float) -> Result:
    made = night(0, None)
    return msgspec.structs.replace(made, verdict=msgspec.structs.replace(made.verdict, numbers=numbers))


def test_a_status_that_changed_says_what_it_was_and_why_it_is() -> None:
    """Unchanged ones are left out; of two results of a night the last counts."""
    before = [result("loading"), result("correctness"), result("state", Status.FAIL)]
    after = [
        result("loading"),
        result("correctness", Status.FAIL, reason="off by a lot", minute=1),
        result("correctness", Status.CRASH, reason="it broke", minute=2),
        result("state", Status.FAIL),
    ]
    assert [(one.probe, one.sentence) for one in diff(before, after)] == [("correctness", "PASS to CRASH: it broke")]


def test_what_was_asked_in_one_night_alone_is_a_difference() -> None:
    """Either way."""
    other = result("loading", of=cell("beta"), reason="it came up")
    found = diff([result("loading")], [other])
    assert [(one.cell_id, one.sentence) for one in found] == [
        (cell("alpha").id, "PASS, not asked after"),
        (cell("beta").id, "not asked before, PASS: it came up"),
    ]


def test_a_speed_is_a_difference_from_five_per_cent_on() -> None:
    """Shape by shape; one without a speed in one of the nights is not compared."""
    before = speeds(D1_speed_per_s=100.0, D16_speed_per_s=100.0, P_speed_per_s=0.0)
    after = speeds(D1_speed_per_s=94.0, D16_speed_per_s=104.0, P_speed_per_s=5.0, M_speed_per_s=1.0)
    (one,) = diff([before], [after])
    assert (one.speeds, one.sentence) == ({"D1": 0.94}, "D1 -6%")
    assert diff([before], [before]) == []
