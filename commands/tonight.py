"""A night, planned: from the tables, and from what the nights before it have measured."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence

from matrix import plan as planning
from matrix.cells import Cell
from matrix.jobs import Job, jobs
from matrix.load import Matrix
from matrix.plan import Night
from matrix.priorities import Candidate, choose, every
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
    candidates = _candidates(session, cells, found)
    longest_s = {
        one.cell.id: one.past.longest_s for one in candidates if one.past is not None and one.past.longest_s is not None
    }
    made = next((one for one in found.nights if one.night == name), None)
    if made is None:
        now, profile = dt.datetime.now(dt.UTC), session.matrix.profiles[session.options.profile]
        limit_h = budget_h if budget_h is not None else profile.accelerator_hours
        choices = every(candidates) if every_cell else choose(candidates, now.date(), budget_h=limit_h)
        made = planning.night(name, profile.id, session.plan, choices, planned_at=now, longest_s=longest_s)
    done = runs.answered(found.results("night = ?", [name]), tuple(session.probes))
    wanted = set(made.cells) - done
    return made, jobs([cell for cell in cells if cell.id in wanted], longest_s)


def _candidates(session: Session, cells: Sequence[Cell], found: Store) -> list[Candidate]:
    past = known.known(found, [cell.id for cell in cells])
    before, drivers = known.before(found, cells), known.drivers(found)
    made_of = {_build(cell): _made_of(session.matrix, cell) for cell in cells}
    return [
        Candidate(
            cell=cell,
            past=past.get(cell.id),
            before=before.get(cell.id),
            setting=known.setting(cell, made_of[_build(cell)], drivers.get(cell.device.id), _versions(session, cell)),
        )
        for cell in cells
    ]


def _versions(session: Session, cell: Cell) -> dict[str, int]:
    """Of the probes that are asked of a cell."""
    return {name: probe.version for name, probe in session.probes.items() if probe.not_asked(cell) is None}


def _build(cell: Cell) -> tuple[str, str]:
    """A release may have an official image for one kind of device and a lock for another."""
    return cell.release.id, cell.device.kind


def _made_of(matrix: Matrix, cell: Cell) -> str | None:
    """The digest of its image or the hash of its lock; a tag without a digest may have moved, and so is always news."""
    if cell.image is not None:
        return cell.image.digest or f"{cell.image.tag}, which is not pinned"
    requirements = cell.release.requirements
    return None if requirements is None else hashlib.sha256(matrix.path(requirements).read_bytes()).hexdigest()
