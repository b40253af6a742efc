"""Which cells run: a profile's choice, narrowed by patterns, less what a rule excludes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from matrix.cells import Cell, Profile, Record
from matrix.errors import WrongInput
from matrix.load import Matrix, did_you_mean


class Planned(Record, frozen=True, kw_only=True):
    """A cell of the plan; `excluded` says why it will not run."""

    cell: Cell
    excluded: str | None = None
    """The reason of the rule, or of the missing kernels."""


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
                f"--select {pattern!r} matches no cell of profile {profile_id!r}: "
                f"{', '.join(cell.id for cell in cells)}"
            )
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
