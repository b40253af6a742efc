"""What differs between two nights, cell by cell. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from matrix.cells import Record
from matrix.results import Result
from reports.history import MIN_MAGNITUDE
from reports.speeds import PACE


class Difference(Record, frozen=True, kw_only=True):
    """One probe of one cell that is not as it was; one side is missing where it was not asked that night."""

    cell_id: str
    probe: str
    before: Result | None
    after: Result | None
    speeds: dict[str, float] = {}
    """Of load shapes whose speed changed: after over before."""

    @property
    def sentence(self) -> str:
        """In words."""
        if self.after is None:
            return f"{_status(self.before)}, not asked after"
        if self.before is None:
            return f"not asked before, {_status(self.after)}: {self.after.verdict.reason}"
        if _status(self.before) != _status(self.after):
            return f"{_status(self.before)} to {_status(self.after)}: {self.after.verdict.reason}"
        return ", ".join(f"{shape} {ratio - 1.0:+.0%}" for shape, ratio in self.speeds.items())


def diff(before: Sequence[Result], after: Sequence[Result]) -> list[Difference]:
    """Differences of status and of speed, by cell and probe; of several results of a night the last counts."""
    old, new = _by_place(before), _by_place(after)
    found = [
        Difference(cell_id=cell, probe=probe, before=one, after=other, speeds=_speeds(one, other))
        for cell, probe in sorted({*old, *new})
        for one, other in [(old.get((cell, probe)), new.get((cell, probe)))]
    ]
    return [one for one in found if one.speeds or _status(one.before) != _status(one.after)]


def _by_place(results: Sequence[Result]) -> dict[tuple[str, str], Result]:
    ordered = sorted(results, key=lambda result: result.provenance.started_at)
    return {(result.cell_id, result.probe): result for result in ordered}


def _status(result: Result | None) -> str:
    return "" if result is None else result.verdict.status.value


def _speeds(before: Result | None, after: Result | None) -> dict[str, float]:
    if before is None or after is None:
        return {}
    old = before.verdict.numbers
    ratios = {
        name.removesuffix(PACE): speed / old[name]
        for name, speed in after.verdict.numbers.items()
        if name.endswith(PACE) and old.get(name, 0.0) > 0.0
    }
    return {shape: ratio for shape, ratio in ratios.items() if abs(ratio - 1.0) >= MIN_MAGNITUDE}
