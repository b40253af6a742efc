"""Which cells of the matrix run, and why the others do not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from matrix import plan as planning
from matrix.cells import Cell
from matrix.errors import WrongInput
from matrix.load import Matrix
from matrix.plan import Planned, plan
from tests.matrix.tables import read, spoil, write


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


def cells_of(matrix: Matrix, releases: int, models: int) -> list[Cell]:
    """Cells of many releases and models on one device."""
    one = matrix.cells()[0]
    return [
        msgspec.structs.replace(
            one,
            release=msgspec.structs.replace(one.release, version=f"1.{release}"),
            model=msgspec.structs.replace(one.model, id=f"model-{model}"),
            device=msgspec.structs.replace(one.device, runner=("self-hosted", "gpu")),
        )
        for release in range(releases)
        for model in range(models)
    ]


def test_cells_of_one_release_and_device_share_a_job_and_none_holds_more_than_it_can_keep(matrix: Matrix) -> None:
    """An image is fetched as seldom as the artifacts allow; no cell is lost or doubled."""
    cells = cells_of(matrix, releases=2, models=11)
    jobs = planning.jobs(cells)
    assert [(job.name, len(job.cells)) for job in jobs] == [
        ("fake-1.0 on cpu", 8), ("fake-1.0 on cpu", 3), ("fake-1.1 on cpu", 8), ("fake-1.1 on cpu", 3),
    ]  # fmt: skip
    assert [cell for job in jobs for cell in job.cells] == [cell.id for cell in cells]
    assert jobs[0].runner == ("self-hosted", "gpu")
    assert jobs[0].minutes > jobs[1].minutes


def test_a_night_never_has_more_jobs_than_github_takes_and_says_what_is_left_out(matrix: Matrix) -> None:
    """256 jobs; the cells of the others are named with the reason."""
    planned = [Planned(cell=cell) for cell in cells_of(matrix, releases=300, models=1)]
    night = planning.night("7", "nightly", planned, planned_at=NOON)
    assert (len(night.cells), len(night.left_out)) == (256, 44)
    assert len(planning.jobs([one.cell for one in planned if one.cell.id in night.cells])) == 256
    assert set(night.left_out.values()) == {"over the 256 jobs that one run of a workflow can hold"}


def test_a_night_leaves_out_what_a_rule_excludes_and_devices_without_a_runner(matrix: Matrix) -> None:
    """With the reason for each; the other cells run."""
    reasons = planning.night("7", "quick", plan(matrix, "quick"), planned_at=NOON).left_out
    assert reasons["fake-0.0.1__large__cpu__default"] == "too large"
    assert reasons["fake-0.0.1__small__cpu__default"] == "no runner for cpu: devices.toml names no labels"
