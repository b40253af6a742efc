"""Which cells run: a profile's choice, narrowed by patterns, less what a rule excludes; and a night's jobs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from matrix.cells import Cell, FileName, Profile, Record
from matrix.errors import WrongInput
from matrix.jobs import MOST_JOBS, MOST_SHARDS, Job, jobs
from matrix.load import Matrix, did_you_mean, nearest
from matrix.priorities import Choice


class Planned(Record, frozen=True, kw_only=True):
    """A cell of the plan; `excluded` says why it will not run."""

    cell: Cell
    excluded: str | None = None
    """The reason of the rule, or of the missing kernels."""


class Night(Record, frozen=True, kw_only=True):
    """What one nightly run set out to do: kept beside its results, so that what did not come back is missed."""

    night: FileName
    planned_at: dt.datetime
    """UTC."""
    profile: str
    cells: tuple[str, ...]
    left_out: dict[str, str]
    """Reasons by cell."""
    reasons: dict[str, str] = {}
    """Why each of `cells` is asked."""
    accelerator_hours: float = 0.0
    """What they take, as far as their history says."""
    dollars: float | None = None
    """What that costs at the prices of devices.toml; None where a device that costs hours has none."""


NIGHT_ENDING = ".night.json"
"""Of the files in which a results folder keeps its nights."""


def plan(matrix: Matrix, profile_id: str, select: Sequence[str] = ()) -> list[Planned]:
    """Expand a profile; `select` patterns narrow it. Raises WrongInput where nothing is left."""
    profile = matrix.profiles.get(profile_id)
    if profile is None:
        hint = did_you_mean(profile_id, list(matrix.profiles))
        raise WrongInput(f"unknown profile {profile_id!r}{hint}")
    cells = [cell for cell in matrix.cells() if _in_profile(cell, profile)]
    for pattern in select:
        if not any(fnmatchcase(cell.id, pattern) for cell in cells):
            near = nearest(pattern, [cell.id for cell in cells])
            raise WrongInput(f"--select {pattern!r} matches no cell of profile {profile_id!r}: {near}")
    chosen = [cell for cell in cells if not select or any(fnmatchcase(cell.id, p) for p in select)]
    return [Planned(cell=cell, excluded=_excluded(matrix, cell)) for cell in chosen]


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


def runnable(planned: Sequence[Planned]) -> list[Cell]:
    """The cells that a night could ask: its plan, its jobs and its results are for everybody to see."""
    shown = [one.cell for one in planned if one.excluded is None and one.cell.model.is_published]
    return [cell for cell in shown if cell.device.runner]


def night(
    name: str,
    profile: str,
    planned: Sequence[Planned],
    choices: Sequence[Choice],
    *,
    planned_at: dt.datetime,
    longest_s: Mapping[str, float],
) -> Night:
    """The cells that a night sets out to ask, and those that it leaves out, with the reasons.

    `choices` are those of the runnable cells, `longest_s` what cells took at most, by id.
    """
    asked = {choice.cell.id: choice for choice in choices if choice.asked}
    all_jobs = jobs([choice.cell for choice in asked.values()], longest_s)
    kept, over = all_jobs[: MOST_JOBS * MOST_SHARDS], all_jobs[MOST_JOBS * MOST_SHARDS :]
    shown = [one for one in planned if one.cell.model.is_published]
    left_out = {one.cell.id: reason for one in shown if (reason := one.excluded or _no_runner(one.cell)) is not None}
    left_out |= {choice.cell.id: choice.sentence for choice in choices if not choice.asked}
    left_out |= dict.fromkeys(_cells(over), f"over the {MOST_JOBS * MOST_SHARDS} jobs that one night can hold")
    cells = _cells(kept)
    return Night(
        night=name,
        planned_at=planned_at,
        profile=profile,
        cells=tuple(cells),
        left_out=left_out,
        reasons={cell: asked[cell].sentence for cell in cells},
        accelerator_hours=sum(asked[cell].hours for cell in cells),
        dollars=_dollars([asked[cell] for cell in cells]),
    )


def _no_runner(cell: Cell) -> str | None:
    return None if cell.device.runner else f"no runner for {cell.device.id}: devices.toml names no labels"


def _cells(all_jobs: Sequence[Job]) -> list[str]:
    return [cell for job in all_jobs for cell in job.cells]


def _dollars(choices: Sequence[Choice]) -> float | None:
    """A price is a whole machine's: its hours are those of one accelerator, of so many."""
    dear = [choice for choice in choices if choice.hours]
    if any(choice.cell.device.price_per_hour is None for choice in dear):
        return None
    return sum(
        choice.hours / choice.cell.device.accelerators * (choice.cell.device.price_per_hour or 0.0) for choice in dear
    )
