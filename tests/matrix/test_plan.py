"""Which cells of the matrix run, and why the others do not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest

from matrix import plan as planning
from matrix.errors import WrongInput
from matrix.load import Matrix
from matrix.plan import Night, Planned, plan, runnable
from matrix.priorities import Candidate, every
from tests.matrix.tables import many, read, spoil, write


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return read(write(tmp_path))


def test_a_profile_chooses_cells(matrix: Matrix) -> None:
    """The profile's patterns hold on every axis; other configs stay out."""
    assert [planned.cell.id for planned in plan(matrix, "quick")] == [
        "fake-0.0.1__small__cpu__default",
        "fake-0.0.1__large__cpu__default",
        "fake-0.0.2__small__cpu__default",
        "fake-0.0.2__large__cpu__default",
    ]


def test_an_exclusion_stays_in_the_plan_with_its_reason(matrix: Matrix) -> None:
    """What a rule leaves out is planned as excluded, in the rule's words, so that nothing vanishes."""
    reasons = {planned.cell.id: planned.excluded for planned in plan(matrix, "quick")}
    assert reasons["fake-0.0.1__small__cpu__default"] is None
    assert reasons["fake-0.0.1__large__cpu__default"] == "too large"


def test_a_build_for_another_device_is_excluded(matrix: Matrix) -> None:
    """A release without kernels for the device says what it is built for."""
    reasons = {planned.cell.id: planned.excluded for planned in plan(matrix, "quick")}
    assert reasons["fake-0.0.2__small__cpu__default"] == "fake-0.0.2 is a build for cuda, the device is cpu"


def test_patterns_narrow_a_profile(matrix: Matrix) -> None:
    """Any of the patterns is enough."""
    chosen = plan(matrix, "quick", ["*0.0.1__small*", "*0.0.2__large*"])
    assert [planned.cell.id.split("__")[:2] for planned in chosen] == [["fake-0.0.1", "small"], ["fake-0.0.2", "large"]]


def test_an_unknown_profile_is_refused(matrix: Matrix) -> None:
    """The known profiles are named."""
    with pytest.raises(WrongInput, match=r"unknown profile 'quikc' \(did you mean 'quick'\? known: quick\)"):
        plan(matrix, "quikc")


def test_a_pattern_that_matches_nothing_is_refused(matrix: Matrix) -> None:
    """One idle pattern among useful ones is a mistake too, and the profile's cells are named."""
    with pytest.raises(WrongInput, match=r"--select 'vllm-\*' matches no cell of profile 'quick': fake-0.0.1__small"):
        plan(matrix, "quick", ["fake-*", "vllm-*"])


def test_of_many_cells_an_error_names_the_nearest(tmp_path: Path) -> None:
    """A profile may hold hundreds."""
    tables = spoil(tmp_path, "profiles.toml", 'configs = ["default"]', 'configs = ["*"]')
    with pytest.raises(WrongInput) as raised:
        plan(read(tables), "quick", ["fake-0.0.2__smal__cpu__parity"])
    assert str(raised.value) == (
        "--select 'fake-0.0.2__smal__cpu__parity' matches no cell of profile 'quick': fake-0.0.2__small__cpu__parity, "
        "fake-0.0.1__small__cpu__parity, fake-0.0.2__large__cpu__parity, fake-0.0.1__large__cpu__parity and 4 others"
    )


def test_the_dtype_of_a_cell_is_the_configs_or_the_models(matrix: Matrix) -> None:
    """A config that says nothing takes the dtype that the weights were released in."""
    dtypes = {(cell.model.id, cell.config.id): cell.dtype for cell in matrix.cells()}
    assert dtypes["small", "default"] == "bfloat16"
    assert dtypes["large", "default"] == "float32"
    assert dtypes["small", "parity"] == "float32"


def test_an_expectation_is_for_one_probe(matrix: Matrix) -> None:
    """A rule for one probe says nothing of another one."""
    cell = "fake-0.0.1__small__cpu__default"
    found = matrix.expectation(cell, "loading")
    assert found is not None and found.reason == "known"
    assert matrix.expectation(cell, "correctness") is None
    assert matrix.expectation("fake-0.0.2__small__cpu__default", "loading") is None


NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def night_of(planned: Sequence[Planned]) -> Night:
    """A night without a past and without a budget."""
    return planning.night(
        "7",
        "nightly",
        planned,
        every([Candidate(cell=cell) for cell in runnable(planned)]),
        planned_at=NOON,
        longest_s={},
    )


def test_a_night_never_has_more_jobs_than_four_matrices_take_and_says_what_is_left_out(matrix: Matrix) -> None:
    """1,024 jobs; the cells of the others are named with the reason."""
    night = night_of([Planned(cell=cell) for cell in many(matrix, releases=1100, models=1)])
    assert (len(night.cells), len(night.left_out)) == (1024, 76)
    assert set(night.left_out.values()) == {"over the 1024 jobs that one night can hold"}


def test_a_night_leaves_out_what_a_rule_excludes_and_devices_without_a_runner(matrix: Matrix) -> None:
    """With the reason for each; the other cells run."""
    reasons = night_of(plan(matrix, "quick")).left_out
    assert reasons["fake-0.0.1__large__cpu__default"] == "too large"
    assert reasons["fake-0.0.1__small__cpu__default"] == "no runner for cpu: devices.toml names no labels"


@pytest.mark.parametrize(("price", "dollars"), [(32.0, 32.0), (None, None)])
def test_a_night_says_what_it_costs(matrix: Matrix, price: float | None, dollars: float | None) -> None:
    """Two cells that are guessed to take half an hour each on eight accelerators, of a machine with a price."""
    cells = many(matrix, releases=1, models=2, accelerators=8, price=price)
    night = night_of([Planned(cell=cell) for cell in cells])
    assert (night.accelerator_hours, night.dollars) == (8.0, dollars)
    assert night.reasons == {cell.id: "every cell was asked for" for cell in cells}
