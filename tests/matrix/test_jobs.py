"""A night's cells become jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cells import Cell
from matrix.jobs import CELL_MINUTES, JOB_MINUTES, MOST_CELLS, MOST_JOBS, MOST_MINUTES, cell_minutes, jobs, shards
from matrix.load import Matrix
from tests.matrix.tables import many, read, write

SMALL, LARGE = 100_000_000, 200_000_000_000
"""Parameters of a model that is fetched sooner than an engine, and of one that is not."""


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return read(write(tmp_path_factory.mktemp("tables")))


def test_small_models_share_the_image_and_none_holds_more_than_it_can_keep(matrix: Matrix) -> None:
    """An image is fetched as seldom as the artifacts allow; no cell is lost or doubled."""
    cells = many(matrix, releases=2, models=11)
    found = jobs(cells)
    assert [(job.name, len(job.cells)) for job in found] == [
        ("fake-1.0 on cpu", 8), ("fake-1.0 on cpu", 3), ("fake-1.1 on cpu", 8), ("fake-1.1 on cpu", 3),
    ]  # fmt: skip
    assert [cell for job in found for cell in job.cells] == [cell.id for cell in cells]
    assert found[0].runner == ("self-hosted", "gpu")
    assert found[0].minutes == JOB_MINUTES + 8 * CELL_MINUTES


def test_a_large_model_is_fetched_once_for_all_engines(matrix: Matrix) -> None:
    """Of 400 GB of weights and an image of a few the weights are dear."""
    found = jobs(many(matrix, releases=3, models=2, parameters=(LARGE, SMALL)))
    assert [(job.name, len(job.cells)) for job in found] == [
        ("model-0 on cpu", 3), ("fake-1.0 on cpu", 1), ("fake-1.1 on cpu", 1), ("fake-1.2 on cpu", 1),
    ]  # fmt: skip


def test_a_job_of_long_cells_is_parted_before_a_hosted_runner_ends_it(matrix: Matrix) -> None:
    """Cells that took forty minutes may take two hours: two of them are as much as six hours hold."""
    cells = many(matrix, releases=1, models=5)
    found = jobs(cells, {cell.id: 2400.0 for cell in cells})
    assert [len(job.cells) for job in found] == [2, 2, 1]
    assert [job.minutes for job in found] == [270, 270, 150]


@pytest.mark.parametrize(("longest_s", "minutes"), [(None, 30), (20.0, 10), (600.0, 30), (601.0, 31)])
def test_the_time_limit_of_a_cell_comes_from_its_own_history(longest_s: float | None, minutes: int) -> None:
    """Three times what it took at most, and never under ten minutes."""
    assert cell_minutes(longest_s) == minutes


def test_more_jobs_than_one_matrix_holds_come_in_several(matrix: Matrix) -> None:
    """256 each."""
    found = shards(jobs(many(matrix, releases=600, models=1)))
    assert [len(part) for part in found] == [MOST_JOBS, MOST_JOBS, 88]


@given(
    sizes=st.lists(st.sampled_from([SMALL, LARGE]), min_size=1, max_size=20),
    releases=st.integers(1, 12),
    seconds=st.lists(st.floats(1.0, 20_000.0), max_size=60),
)
def test_every_cell_is_in_one_job_of_its_device_and_no_job_is_too_large(
    matrix: Matrix, sizes: list[int], releases: int, seconds: list[float]
) -> None:
    """Whatever there is to ask; only a cell that alone takes longer than a job may makes a job that does."""
    cells: list[Cell] = many(matrix, releases=releases, models=len(sizes), parameters=sizes)
    longest_s = {cell.id: took for cell, took in zip(cells, seconds, strict=False)}
    found = jobs(cells, longest_s)
    assert sorted(cell for job in found for cell in job.cells) == sorted(cell.id for cell in cells)
    assert all(len(job.cells) <= MOST_CELLS for job in found)
    assert all(job.minutes <= MOST_MINUTES or len(job.cells) == 1 for job in found)
