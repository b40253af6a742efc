"""Squares and their readiness levels."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec
import pytest

from matrix.cells import Cell
from matrix.results import Result, Status
from reports.grid import Square, grid
from reports.levels import MAKE_ROBUST
from reports.standing import standing
from tests.reports.samples import cell, result, whole_cell

FINITE = {"prefill_nonfinite": 0.0}


def only(results: list[Result]) -> Square:
    (square,) = grid(standing(results)).squares
    return square


def robust(**statuses: Status) -> list[Result]:
    """A cell that was asked everything that makes it robust."""
    asked = [result(probe, statuses.get(probe, Status.PASS)) for probe in MAKE_ROBUST]
    return [*whole_cell(cell()), *asked]


def compared(status: Status = Status.PASS) -> Result:
    """A speed that was held against another engine's."""
    return result("throughput", status, numbers={"D1_rho_peer": 1.0}, minute=30)


def test_a_cell_that_passes_everything_is_ready() -> None:
    """Robust, serving as clients expect, and not slow: the highest level, before which nothing stands."""
    square = only([*robust(), result("protocol"), compared()])
    assert (square.level, square.level_name, square.blocked_by) == (5, "ready", "")
    assert square.blocks == "nothing is left to earn"


def test_what_makes_it_ready_must_be_asked_and_answered() -> None:
    """The protocol, and a speed that was compared with something."""
    assert only([*robust(), compared()]).blocked_by == "protocol was not asked"
    square = only([*robust(), result("protocol")])
    assert (square.level, square.blocked_by) == (
        4, "its speed could be compared with nothing: no control of its size and no other engine in the run",
    )  # fmt: skip


@pytest.mark.parametrize("status", [Status.FAIL, Status.DEGRADED])
def test_a_slow_engine_is_robust_and_not_ready(status: Status) -> None:
    """Its answers are right."""
    square = only([*robust(), result("protocol"), compared(status)])
    assert (square.level, square.blocked_by) == (4, f"throughput {status.value}: because <it> & so")
    assert square.colour == "partly"


def test_where_speeds_are_not_judged_nothing_is_ready() -> None:
    """A ratio that blames nobody clears nobody."""
    there = compared()
    device = msgspec.structs.replace(there.cell.device, speed_judged=False)
    there = msgspec.structs.replace(there, cell=msgspec.structs.replace(there.cell, device=device))
    square = only([*robust(), result("protocol"), there])
    assert (square.level, square.blocked_by) == (4, "speeds are not judged on cpu")


def test_a_speed_is_asked_of_one_config_alone() -> None:
    """A config in which speed does not count takes nothing away where it was skipped."""
    other = [result(probe, of=cell(config="parity")) for probe in ("loading", *MAKE_ROBUST, "correctness", "protocol")]
    skipped = result("throughput", Status.SKIP, of=cell(config="parity"))
    assert only([*robust(), result("protocol"), compared(), *other, skipped]).level == 5


@pytest.mark.parametrize("status", [Status.FAIL, Status.DEGRADED])
def test_a_server_that_breaks_the_protocol_is_still_robust(status: Status) -> None:
    """Its numbers are right; it is not ready, and is to blame for that."""
    square = only([*robust(), result("protocol", status)])
    assert (square.level, square.blocked_by) == (4, f"protocol {status.value}: because <it> & so")
    assert square.colour == "partly"


def test_quantized_weights_that_are_read_rightly_are_right() -> None:
    """In a config that quantizes, another probe asks what correctness asks elsewhere."""
    square = only([*whole_cell(cell(), correctness=Status.SKIP), result("quantized", numbers=FINITE)])
    assert (square.level, square.blocked_by) == (3, "state was not asked")
    assert (
        only([*whole_cell(cell(), correctness=Status.SKIP), result("quantized", Status.FAIL, numbers=FINITE)]).level
        == 2
    )


def test_what_was_not_asked_is_not_earned() -> None:
    """A profile that asks less gives a lower level, and says for want of what."""
    square = only(whole_cell(cell()))
    assert (square.level, square.level_name, square.blocked_by) == (3, "right", "state was not asked")


@pytest.mark.parametrize("status", [Status.FAIL, Status.UNDECIDED, Status.ERROR, Status.SKIP])
def test_right_but_not_shown_to_stay_so_is_level_three(status: Status) -> None:
    """Whether it went wrong in a batch or nobody could tell."""
    square = only(robust(batch=status))
    assert (square.level, square.blocked_by) == (3, f"batch {status.value}: because <it> & so")


@pytest.mark.parametrize("status", [Status.FAIL, Status.DEGRADED, Status.UNDECIDED, Status.REF_SUSPECT])
def test_an_engine_that_answers_and_is_not_right_runs(status: Status) -> None:
    """Finite logprobs without a PASS of correctness are level 2."""
    assert only(whole_cell(cell(), correctness=status)).level == 2


def test_non_finite_logprobs_keep_an_engine_at_loads() -> None:
    """Level 2 wants finite logprobs."""
    broken = result("correctness", Status.FAIL, numbers={"prefill_nonfinite": 3.0}, minute=1)
    assert only([result("loading"), broken]).level == 1


def test_an_engine_that_crashes_while_loading_is_at_level_nought() -> None:
    """A crash is decided: the square is red, not grey."""
    square = only(whole_cell(cell(), loading=Status.CRASH, correctness=Status.NOTRUN))
    assert (square.level, square.blocked_by) == (0, "loading CRASH: because <it> & so")


@pytest.mark.parametrize("status", [Status.ERROR, Status.SKIP, Status.NOTRUN])
def test_a_cell_that_was_not_measured_is_grey_and_says_why(status: Status) -> None:
    """Our own failure or a rule never colours an engine."""
    square = only([result("loading", status, reason="the disk is full")])
    assert (square.level, square.blocked_by) == (None, f"loading {status.value}: the disk is full")


def test_a_square_is_as_good_as_its_worst_config() -> None:
    """Right in one config and wrong in another is not right."""
    square = only(whole_cell(cell()) + whole_cell(cell(config="parity"), correctness=Status.FAIL))
    assert square.level == 2


def test_every_engine_has_a_square_of_its_own() -> None:
    """Squares are model x engine x channel x device, in a stable order."""
    found = grid(standing(whole_cell(cell("beta")) + whole_cell(cell("alpha"))))
    assert [square.release for square in found.squares] == ["alpha-1.0", "beta-1.0"]
    assert found.probes == ("loading", "correctness", "throughput")


def test_probes_keep_their_order_where_one_of_them_stands_on_an_older_answer() -> None:
    """Correctness could not be decided tonight; it still comes after loading."""
    undecided = result("correctness", Status.UNDECIDED, minute=11)
    tonight = [result("loading", minute=10), undecided, result("throughput", minute=12)]
    found = grid(standing([*whole_cell(cell()), *tonight]))
    assert found.probes == ("loading", "correctness", "throughput")
    assert [one.probe for one in found.squares[0].results] == list(found.probes)


def test_an_error_of_ours_in_one_config_does_not_take_away_what_another_has_earned() -> None:
    """The config that could not be measured is not part of the level."""
    broken = [result("loading", Status.ERROR, of=cell(config="parity"))]
    assert only(whole_cell(cell()) + broken).level == 3


@pytest.mark.parametrize(
    ("statuses", "colour"),
    [
        ({}, "right"),
        ({"correctness": Status.FAIL}, "wrong"),
        ({"correctness": Status.DEGRADED}, "partly"),
        ({"correctness": Status.UNDECIDED}, "grey"),
        ({"correctness": Status.REF_SUSPECT}, "grey"),
        ({"throughput": Status.CRASH}, "partly"),
        ({"loading": Status.CRASH}, "wrong"),
        ({"loading": Status.ERROR}, "grey"),
    ],
)
def test_green_means_right_red_the_engine_and_grey_not_known(statuses: dict[str, Status], colour: str) -> None:
    """Nothing found wrong is not enough for green, and our own failure is never red."""
    found = [result(probe, statuses.get(probe, Status.PASS)) for probe in ("loading", "correctness", "throughput")]
    assert only(found).colour == colour


def test_right_with_a_crash_beside_it_says_the_crash() -> None:
    """Level 3 does not hide what came after."""
    crash = result("throughput", Status.CRASH, reason="died", minute=2)
    assert only([*whole_cell(cell())[:2], crash]).blocked_by == "throughput CRASH: died"


def test_a_suspected_reference_is_grey_with_its_reason_whatever_was_known_before() -> None:
    """What an earlier night decided, it decided by the same reference."""
    doubt = result("correctness", Status.REF_SUSPECT, reason="alpha and beta agree", minute=11)
    for before in (Status.FAIL, Status.PASS):
        square = only([*whole_cell(cell(), correctness=before), doubt])
        assert (square.level, square.colour) == (2, "grey")
        assert square.blocked_by == "correctness REF-SUSPECT: alpha and beta agree"


def released(version: str, day: int | None, channel: Literal["stable", "nightly"] = "stable") -> Cell:
    plain = cell()
    date = None if day is None else dt.date(2026, 1, day)
    release = msgspec.structs.replace(plain.release, version=version, released=date, channel=channel)
    return msgspec.structs.replace(plain, release=release)


def test_a_square_shows_the_newest_release_and_nothing_of_older_ones() -> None:
    """Whatever was measured last: an older one may be measured again to find where a fault came in."""
    old, new = released("1.9", 1), released("1.10", 2)
    again = [result("loading", of=old, minute=9), result("correctness", Status.FAIL, of=old, minute=10)]
    square = only([*whole_cell(new), *again])
    assert (square.release, square.level) == ("alpha-1.10", 3)
    assert {one.cell_id for one in square.results} == {new.id}


def test_of_releases_without_a_date_the_last_measured_is_shown() -> None:
    """Nobody knows better."""
    first, second = released("a", None), released("b", None)
    assert only([*whole_cell(first), result("loading", of=second, minute=9)]).release == "alpha-b"


def test_a_new_release_that_could_not_be_measured_yet_stands_beside_the_older_one() -> None:
    """Our own failure does not take away what is known of the release before."""
    new = result("loading", Status.ERROR, of=released("1.10", 2), reason="the registry is down", minute=9)
    square = only([*whole_cell(released("1.9", 1)), new])
    assert (square.release, square.level) == ("alpha-1.9", 3)
    assert square.no_answer == "loading ERROR: the registry is down"


def test_a_new_release_that_cannot_be_asked_is_grey_and_no_older_one_stands_for_it() -> None:
    """Neither the red nor the green of a release before is today's; why it is not asked, is."""
    new = result("loading", Status.SKIP, of=released("1.10", 2), reason="needs a GPU", minute=9)
    for before in (Status.FAIL, Status.PASS):
        square = only([*whole_cell(released("1.9", 1), correctness=before), new])
        assert (square.release, square.colour) == ("alpha-1.10", "grey")
        assert square.blocked_by == "loading SKIP: needs a GPU"


def test_channels_have_squares_of_their_own() -> None:
    """A nightly build does not colour the stable release."""
    nightly = whole_cell(released("2.0", 3, "nightly"), correctness=Status.FAIL)
    found = grid(standing([*whole_cell(released("1.9", 1)), *nightly])).squares
    assert [(square.place.column, square.level) for square in found] == [("alpha nightly", 2), ("alpha", 3)]


def test_of_one_run_every_release_has_a_square() -> None:
    """Whoever asks two releases wants to see both."""
    found = grid(standing([*whole_cell(released("1.9", 1)), *whole_cell(released("1.10", 2))]), every_release=True)
    assert [square.release for square in found.squares] == ["alpha-1.10", "alpha-1.9"]
