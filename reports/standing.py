"""What holds for every cell and probe, of all that was ever measured. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matrix.cells import Record
from matrix.results import Result, Status


class Standing(Record, frozen=True, kw_only=True):
    """What holds for one probe of one cell."""

    result: Result
    """The newest that settled something; where none did, the newest."""
    later: Result | None = None
    """The newest, where it settled nothing: the run that was no answer."""


SETTLING = frozenset(status for status in Status if status.settles or status is Status.SKIP)
"""What takes the place of what was known before: a judgement, or a rule that excludes the cell.

So does NOTRUN, where the engine broke in the same launch, before the probe could run; and doubt about the reference.
"""


def standing(results: Sequence[Result]) -> list[Standing]:
    """What holds for every cell and probe, from results in the order of measuring.

    A result that settles nothing, ours or undecided, does not take away what an earlier one has settled.
    """
    broke = {launch(result) for result in results if result.verdict.status.blames_engine}
    found: dict[tuple[str, str], Standing] = {}
    for result in results:
        place = (result.cell_id, result.probe)
        before = found.get(place)
        if before is None or _settles(result, broke) or not _settles(before.result, broke):
            found[place] = Standing(result=result)
        else:
            found[place] = Standing(result=before.result, later=result)
    return list(found.values())


def launch(result: Result) -> tuple[str, str]:
    """By which results of one start of an engine are known: run and cell."""
    return result.provenance.run_id, result.cell_id


def _settles(result: Result, broke: Collection[tuple[str, str]]) -> bool:
    status = result.verdict.status
    return status in SETTLING or (status is Status.NOTRUN and launch(result) in broke)
