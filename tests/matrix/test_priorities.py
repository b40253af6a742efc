"""What a night asks first, what waits, and what has its turn."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cells import Cell
from matrix.load import Matrix
from matrix.priorities import ROTATION, Candidate, Choice, Known, Why, choose
from tests.matrix.tables import many, read, write

TODAY = dt.date(2026, 3, 10)
SETTING = {"image": "sha256:aa", "probe loading": "3"}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return read(write(tmp_path_factory.mktemp("tables")))


def known(nights: int, **more: object) -> Known:
    """Asked so many nights ago with today's setting."""
    told = Known(asked=TODAY - dt.timedelta(days=nights), setting=SETTING, seconds=1800.0)
    return msgspec.structs.replace(told, **more)


def candidates(cells: Sequence[Cell], past: Mapping[str, Known]) -> list[Candidate]:
    return [Candidate(cell=cell, past=past.get(cell.id), setting=SETTING) for cell in cells]


def chosen(
    cells: Sequence[Cell], past: Mapping[str, Known], budget_h: float | None = None
) -> dict[str, tuple[Why, bool, str]]:
    """By model."""
    found = choose(candidates(cells, past), TODAY, budget_h=budget_h)
    return {choice.cell.model.id: (choice.why, choice.asked, choice.sentence) for choice in found}


def test_every_reason_is_told_in_the_order_in_which_the_budget_goes(matrix: Matrix) -> None:
    """News, what is overdue, what is red once, what has changed, what gave no answer, what has its turn, the rest."""
    cells = many(matrix, releases=1, models=15, accelerators=1)
    pasts = [
        None, known(7), known(1, red=True), known(1, setting={**SETTING, "image": "sha256:bb"}),
        known(1, unanswered=True), known(4), known(3), *[known(2)] * 8,
    ]  # fmt: skip
    past = {cell.id: one for cell, one in zip(cells, pasts, strict=True) if one is not None}
    found = chosen(cells, past)
    assert list(found.values())[:8] == [
        (Why.NEW_MODEL, True, "the model was never asked of this engine"),
        (Why.OVERDUE, True, "last asked 7 nights ago"),
        (Why.RED, True, "seen red on 2026-03-09, and not yet a second time"),
        (Why.CHANGED, True, "since 2026-03-09 changed: image: sha256:bb to sha256:aa"),
        (Why.UNANSWERED, True, "no answer on 2026-03-09"),
        (Why.ROTATION, True, "its turn: unchanged since it was asked on 2026-03-06"),
        (Why.ROTATION, True, "its turn: unchanged since it was asked on 2026-03-07"),
        (Why.UNCHANGED, False, "unchanged since it was asked on 2026-03-08"),
    ]
    assert {asked for _, asked, _ in list(found.values())[7:]} == {False}


def test_a_release_that_a_known_model_never_met_is_a_new_release(matrix: Matrix) -> None:
    """Of the same model another release was asked."""
    first, second = many(matrix, releases=2, models=1)
    old = Candidate(cell=first, past=known(1), setting=SETTING)
    found = choose([old, Candidate(cell=second, before=dt.date(2026, 3, 9))], TODAY)
    assert [(one.cell.id, one.why) for one in found if one.asked] == [(second.id, Why.NEW_RELEASE)]
    assert found[0].sentence == ("the release, which came on 2026-01-01, was never asked; one before it on 2026-03-09")


def test_new_releases_leave_a_share_to_what_is_overdue(matrix: Matrix) -> None:
    """Ten hours for twenty cells of an hour, half of them overdue, half of a new release: six of these go first."""
    cells = many(matrix, releases=2, models=10, accelerators=1)
    late, news = cells[:10], cells[10:]
    past = {cell.id: known(8, seconds=3600.0) for cell in late}
    new = [Candidate(cell=cell, before=dt.date(2026, 3, 9)) for cell in news]
    found = choose([*candidates(late, past), *new], TODAY, budget_h=10.0)
    asked = [one.why for one in found if one.asked]
    assert (asked.count(Why.NEW_RELEASE), asked.count(Why.OVERDUE)) == (6, 4)


def test_a_red_cell_that_two_runs_have_seen_is_as_settled_as_a_green_one(matrix: Matrix) -> None:
    """Nothing has changed that could mend it."""
    (cell,) = many(matrix, releases=1, models=1)
    found = chosen([cell], {cell.id: known(1, red=True, confirmed=True)})
    assert found["model-0"] == (Why.UNCHANGED, False, "unchanged since it was asked on 2026-03-09")


def test_what_does_not_fit_waits_and_says_so_and_something_cheaper_may_go(matrix: Matrix) -> None:
    """One accelerator-hour: the first takes half of it, the second two hours, the third half an hour."""
    cells = many(matrix, releases=1, models=3, accelerators=1)
    took = (1800.0, 7200.0, 1800.0)
    past = {
        cell.id: known(9 - number, seconds=seconds)
        for number, (cell, seconds) in enumerate(zip(cells, took, strict=True))
    }
    found = chosen(cells, past, budget_h=1.0)
    assert [asked for _, asked, _ in found.values()] == [True, False, True]
    assert found["model-1"][2] == (
        "last asked 8 nights ago; it waits, for 2.0 accelerator-hours are more than what is left"
    )


def test_cells_without_accelerators_cost_nothing(matrix: Matrix) -> None:
    """A budget of nothing at all still asks them."""
    cells = many(matrix, releases=1, models=3)
    assert all(asked for _, asked, _ in chosen(cells, {}, budget_h=0.0).values())


NIGHTS = 40


@given(
    took=st.lists(st.floats(60.0, 7200.0), min_size=1, max_size=30),
    releases=st.integers(1, 3),
    ages=st.lists(st.integers(1, 30), max_size=90),
)
def test_with_enough_of_a_budget_nothing_goes_unasked_for_more_than_seven_nights(
    matrix: Matrix, took: list[float], releases: int, ages: list[int]
) -> None:
    """Whatever was asked when: after one night, every cell is asked again within ROTATION nights, for ever."""
    cells = many(matrix, releases=releases, models=len(took), accelerators=1)
    past = {
        cell.id: Known(asked=TODAY - dt.timedelta(days=age), setting=SETTING, seconds=seconds)
        for cell, age, seconds in zip(cells, ages, took * releases, strict=False)
    }
    for number in range(NIGHTS):
        night = TODAY + dt.timedelta(days=number)
        for choice in choose(candidates(cells, past), night):
            if choice.asked:
                past[choice.cell.id] = Known(asked=night, setting=SETTING, seconds=choice.hours * 3600)
        assert len(past) == len(cells)
        assert max((night - one.asked).days for one in past.values()) < ROTATION


@given(
    took=st.lists(st.floats(60.0, 7200.0), min_size=1, max_size=30),
    ages=st.lists(st.integers(0, 12), min_size=30, max_size=30),
    budget_h=st.floats(0.0, 10.0),
)
def test_the_budget_is_kept_and_nobody_waits_who_would_fit(
    matrix: Matrix, took: list[float], ages: list[int], budget_h: float
) -> None:
    """What is asked takes no more than there is; what waits takes more than was left."""
    cells = many(matrix, releases=1, models=len(took), accelerators=1)
    past = {cell.id: known(age, seconds=seconds) for cell, age, seconds in zip(cells, ages, took, strict=False) if age}
    found: list[Choice] = choose(candidates(cells, past), TODAY, budget_h=budget_h)
    spent = sum(choice.hours for choice in found if choice.asked)
    assert spent <= budget_h + 1e-9
    waiting = [choice for choice in found if not choice.asked and choice.why is not Why.UNCHANGED]
    assert all(choice.hours > budget_h - spent - 1e-9 for choice in waiting)
