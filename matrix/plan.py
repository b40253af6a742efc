"""Which cells run: a profile's choice, narrowed by patterns, less what a rule excludes; and a night's jobs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from matrix.cells import Cell, FileName, Profile, Record
from matrix.errors import WrongInput
from matrix.load import Matrix, did_you_mean


class Planned(Record, frozen=True, kw_only=True):
    """A cell of the plan; `excluded` says why it will not run."""

    cell: Cell
    excluded: str | None = None
    """The reason of the rule, or of the missing kernels."""


class Job(Record, frozen=True, kw_only=True):
    """One job of GitHub Actions: cells that share a release and a device, so that an image is fetched once."""

    name: str
    runner: tuple[str, ...]
    cells: tuple[str, ...]
    minutes: int
    """Its time limit."""


class Night(Record, frozen=True, kw_only=True):
    """What one nightly run set out to do: kept beside its results, so that what did not come back is missed."""

    night: FileName
    planned_at: dt.datetime
    """UTC."""
    profile: str
    cells: tuple[str, ...]
    left_out: dict[str, str]
    """Reasons by cell."""


NIGHT_ENDING = ".night.json"
"""Of the files in which a results folder keeps its nights."""

MOST_JOBS = 256
"""GitHub's limit for one run of a workflow."""

MOST_CELLS = 8
"""Cells of one job; the workflow has as many steps that keep a cell's artifact."""

NAMED = 4
"""Cells that an error names."""

JOB_MINUTES, CELL_MINUTES = 30, 30
"""Time limits: for fetching or building an image, and for a cell, both several times what they take."""


def plan(matrix: Matrix, profile_id: str, select: Sequence[str] = ()) -> list[Planned]:
    """Expand a profile; `select` patterns narrow it. Raises WrongInput where nothing is left."""
    profile = matrix.profiles.get(profile_id)
    if profile is None:
        hint = did_you_mean(profile_id, list(matrix.profiles))
        raise WrongInput(f"unknown profile {profile_id!r}{hint}")
    cells = [cell for cell in matrix.cells() if _in_profile(cell, profile)]
    for pattern in select:
        if not any(fnmatchcase(cell.id, pattern) for cell in cells):
            raise WrongInput(
                f"--select {pattern!r} matches no cell of profile {profile_id!r}: {_nearest(pattern, cells)}"
            )
    chosen = [cell for cell in cells if not select or any(fnmatchcase(cell.id, p) for p in select)]
    return [Planned(cell=cell, excluded=_excluded(matrix, cell)) for cell in chosen]


def _nearest(pattern: str, cells: Sequence[Cell]) -> str:
    """Those cells that the pattern is most like, by their ids, and how many others there are."""
    ids = [cell.id for cell in cells]
    named = get_close_matches(pattern, ids, n=NAMED, cutoff=0) if len(ids) > NAMED else ids
    others = len(ids) - len(named)
    return ", ".join(named) + (f" and {others} others" if others else "")


def _in_profile(cell: Cell, profile: Profile) -> bool:
    axes = (
        (cell.release.id, profile.releases),
        (cell.model.id, profile.models),
        (cell.device.id, profile.devices),
        (cell.config.id, profile.configs),
    )
    return all(any(fnmatchcase(name, pattern) for pattern in patterns) for name, patterns in axes)


def _excluded(matrix: Matrix, cell: Cell) -> str | None:
    if cell.device.kind not in cell.release.kinds:
        kinds = ", ".join(cell.release.kinds)
        return f"{cell.release.id} is a build for {kinds}, the device is {cell.device.kind}"
    rule = matrix.exclusion(cell)
    return None if rule is None else rule.reason


def night(name: str, profile: str, planned: Sequence[Planned], *, planned_at: dt.datetime) -> Night:
    """The cells that a night sets out to run, and those that it leaves out, with the reason."""
    reasons = {one.cell.id: one.excluded or _no_runner(one.cell) for one in planned}
    all_jobs = jobs([one.cell for one in planned if reasons[one.cell.id] is None])
    kept, over = all_jobs[:MOST_JOBS], all_jobs[MOST_JOBS:]
    too_many = dict.fromkeys(_cells(over), f"over the {MOST_JOBS} jobs that one run of a workflow can hold")
    left_out = {cell: reason for cell, reason in reasons.items() if reason is not None}
    return Night(
        night=name, planned_at=planned_at, profile=profile, cells=tuple(_cells(kept)), left_out=left_out | too_many
    )


def _no_runner(cell: Cell) -> str | None:
    return None if cell.device.runner else f"no runner for {cell.device.id}: devices.toml names no labels"


def _cells(all_jobs: Sequence[Job]) -> list[str]:
    return [cell for job in all_jobs for cell in job.cells]


def jobs(cells: Sequence[Cell]) -> list[Job]:
    """The jobs for some cells, in their order: at most MOST_CELLS of one release on one device in each."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.release.id, cell.device.id), []).append(cell)
    return [
        _job(f"{release} on {device}", group[start : start + MOST_CELLS])
        for (release, device), group in groups.items()
        for start in range(0, len(group), MOST_CELLS)
    ]


def _job(name: str, cells: Sequence[Cell]) -> Job:
    return Job(
        name=name,
        runner=cells[0].device.runner,
        cells=tuple(cell.id for cell in cells),
        minutes=JOB_MINUTES + CELL_MINUTES * len(cells),
    )
