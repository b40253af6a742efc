"""A night, planned: from the tables, and from what the nights before it have measured."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence

from matrix import plan as planning
from matrix.cells import Cell
from matrix.jobs import Job, jobs
from matrix.load import Matrix
from matrix.plan import Night
from matrix.priorities import Choice, Known, choose, every
from probes.session import Session
from reports import known, runs
from reports.store import Store


def plan_night(
    session: Session, name: str, found: Store, budget_h: float | None = None, *, every_cell: bool = False
) -> tuple[Night, list[Job]]:
    """A night's record, and the jobs that are still to do of it. One that is known already stays as it was planned.

    `budget_h`: accelerator-hours, in the place of what the profile says.
    """
    cells = planning.runnable(session.plan)
    past = known.known(found, [cell.id for cell in cells])
    longest_s = {cell: one.longest_s for cell, one in past.items() if one.longest_s is not None}
    made = next((one for one in found.nights if one.night == name), None)
    if made is None:
        now = dt.datetime.now(dt.UTC)
        if every_cell:
            choices = every(cells, past)
        else:
            choices = _choices(session, cells, past, known.drivers(found), now.date(), budget_h)
        profile = session.options.profile
        made = planning.night(name, profile, session.plan, choices, planned_at=now, longest_s=longest_s)
    done = runs.answered(found.results("night = ?", [name]), tuple(session.probes))
    wanted = set(made.cells) - done
    return made, jobs([cell for cell in cells if cell.id in wanted], longest_s)


def _choices(
    session: Session,
    cells: Sequence[Cell],
    past: Mapping[str, Known],
    drivers: Mapping[str, str],
    today: dt.date,
    budget_h: float | None,
) -> list[Choice]:
    if budget_h is None:
        budget_h = session.matrix.profiles[session.options.profile].accelerator_hours
    made_of = {cell.release.id: _made_of(session.matrix, cell) for cell in cells}
    settings = {
        cell.id: known.setting(cell, made_of[cell.release.id], drivers.get(cell.device.id), _versions(session, cell))
        for cell in cells
    }
    return choose(cells, past, settings, today, budget_h=budget_h)


def _versions(session: Session, cell: Cell) -> dict[str, int]:
    """Of the probes that are asked of a cell."""
    return {name: probe.version for name, probe in session.probes.items() if probe.not_asked(cell) is None}


def _made_of(matrix: Matrix, cell: Cell) -> str | None:
    """The digest of its image or the hash of its lock; a tag without a digest may have moved, and so is always news."""
    if cell.image is not None:
        return cell.image.digest or f"{cell.image.tag}, which is not pinned"
    requirements = cell.release.requirements
    return None if requirements is None else hashlib.sha256(matrix.path(requirements).read_bytes()).hexdigest()
