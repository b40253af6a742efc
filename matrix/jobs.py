"""A night's cells as jobs of GitHub Actions: grouped so that little is fetched twice, each bounded in time. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from matrix.cells import Cell, Dtype, Record


class Job(Record, frozen=True, kw_only=True):
    """One job: cells that share a device and, as far as that goes, what is dear to fetch."""

    name: str
    runner: tuple[str, ...]
    cells: tuple[str, ...]
    minutes: int
    """Its time limit."""


MOST_JOBS = 256
"""GitHub's limit for one matrix; beyond it a night has several, each in a workflow of its own below the nightly one."""

MOST_SHARDS = 4
"""Matrices of one night: their jobs reach them as text in an output of the plan, of which GitHub takes a megabyte."""

MOST_CELLS = 8
"""Cells of one job; the workflow has as many steps that keep a cell's artifact."""

MOST_MINUTES = 350
"""A hosted runner ends a job after six hours, whatever its own limit."""

JOB_MINUTES, CELL_MINUTES = 30, 30
"""Time limits: for fetching or building an image, and for a cell of which nobody knows how long it takes."""

LEAST_CELL_MINUTES = 10
SLACK = 3.0
"""A cell may take so many times what it took at most."""

IMAGE_BYTES, LOCKED_BYTES = 10e9, 2e9
"""What a machine without anything fetches for an engine: an official GPU image, compressed, and the packages of a lock,
which are torch for CPUs and what goes with it. Assumed, and not measured: they only decide what is grouped by what."""

BYTES_PER_PARAMETER: dict[Dtype, int] = {"bfloat16": 2, "float16": 2, "float32": 4}


def jobs(cells: Sequence[Cell], seconds: Mapping[str, float] | None = None) -> list[Job]:
    """The jobs for some cells, in the order of their first ones.

    Of a cell's image and its model the dearer one decides with whom it shares a job: a model of 60 GB is fetched once
    for several engines, an image of 10 GB once for several small models. `seconds`: what cells took at most, by id.
    """
    seconds = seconds or {}
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((_shared(cell), cell.device.id), []).append(cell)
    return [
        _job(f"{shared} on {device}", part, seconds)
        for (shared, device), group in groups.items()
        for part in _parts(group, seconds)
    ]


def shards(all_jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs in lists that one matrix can hold."""
    return [list(all_jobs[start : start + MOST_JOBS]) for start in range(0, len(all_jobs), MOST_JOBS)]


def _shared(cell: Cell) -> str:
    return cell.model.id if model_bytes(cell) > _image_bytes(cell) else cell.release.id


def model_bytes(cell: Cell) -> float:
    """Of its weights; 0 where nobody knows."""
    return (cell.model.parameters_total or 0) * BYTES_PER_PARAMETER[cell.model.dtype]


def _image_bytes(cell: Cell) -> float:
    """What a machine without anything fetches for its engine."""
    return IMAGE_BYTES if cell.image is not None else LOCKED_BYTES


def _parts(group: Sequence[Cell], seconds: Mapping[str, float]) -> Iterator[list[Cell]]:
    part: list[Cell] = []
    minutes = JOB_MINUTES
    for cell in group:
        own = cell_minutes(seconds.get(cell.id))
        if part and (len(part) == MOST_CELLS or minutes + own > MOST_MINUTES):
            yield part
            part, minutes = [], JOB_MINUTES
        part.append(cell)
        minutes += own
    yield part


def cell_minutes(longest_s: float | None) -> int:
    """The time limit of a cell that took so long at most; None where nobody knows."""
    if longest_s is None:
        return CELL_MINUTES
    return max(LEAST_CELL_MINUTES, math.ceil(SLACK * longest_s / 60))


def _job(name: str, cells: Sequence[Cell], seconds: Mapping[str, float]) -> Job:
    return Job(
        name=name,
        runner=cells[0].device.runner,
        cells=tuple(cell.id for cell in cells),
        minutes=JOB_MINUTES + sum(cell_minutes(seconds.get(cell.id)) for cell in cells),
    )
