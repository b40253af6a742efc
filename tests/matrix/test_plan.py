"""Which cells of the matrix run, and why the others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.errors import WrongInput
from matrix.load import Matrix
from matrix.plan import plan
from tests.matrix.tables import read, write


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
