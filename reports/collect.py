"""Bring together what the jobs of a night have left: copied once, not overwritten, and nothing dropped in silence.

One thing may follow later: that an engine is no longer accused, where the job of another one came in only now. What is
compacted already counts as being there.

Kept is what pages, drafts and histories are made of. Measurements and whole logs stay in the artifacts of their cells.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from matrix.cells import Record
from matrix.plan import NIGHT_ENDING
from matrix.results import RESULT_ENDING, Result, SchemaError, Status, read_result, write_bytes
from reports import cost, store
from reports.runs import ARCHIVE, RESULTS, TAILS, TIMINGS

KEPT = (f"*{NIGHT_ENDING}", *(f"*/{name}" for name in (cost.FILE, RESULTS, TIMINGS, TAILS)))
"""Below a folder of results."""


class Collected(Record, frozen=True, kw_only=True):
    """What one collecting did."""

    new: int
    """Files that were not there before."""
    known: int
    """Files that were there already, byte for byte."""
    differing: tuple[str, ...]
    """Files that were there with other content, and stayed as they were."""
    withdrawn: tuple[str, ...] = ()
    """Results that accused an engine and are REF-SUSPECT now."""


def collect(incoming: Path, results: Path) -> Collected:
    """Copy the files worth keeping from one folder of results to another; doing it twice changes nothing."""
    results.mkdir(parents=True, exist_ok=True)
    paths = sorted({path for pattern in KEPT for path in incoming.glob(pattern)})
    read = {path: one for path in paths if path.match(RESULTS) and (one := _read(path)) is not None}
    hidden = {path.parent for path, one in read.items() if not one.cell.model.is_published}
    paths = [path for path in paths if path.parent not in hidden]
    archived = _Archived(results, {path.relative_to(incoming).parts[0] for path in paths})
    new, known, differing, withdrawn = 0, 0, [], []
    for path in paths:
        name = path.relative_to(incoming)
        target, content = results / name, path.read_bytes()
        there = target.exists()
        if not there and not archived.holds(name):
            write_bytes(target, content)
            new += 1
        elif target.read_bytes() == content if there else archived.says(name, path):
            known += 1
        elif _withdraws(path, _read(target) if there else archived.result(name)):
            write_bytes(target, content)
            withdrawn.append(name.as_posix())
        else:
            differing.append(name.as_posix())
    return Collected(new=new, known=known, differing=tuple(differing), withdrawn=tuple(withdrawn))


class _Archived:
    """What the archive of a folder holds of some runs."""

    def __init__(self, results: Path, runs: Collection[str]) -> None:
        self._results: dict[tuple[str, str, str], Result] = {}
        self._places: set[tuple[str, ...]] = set()
        if not (results / ARCHIVE).is_dir():
            return
        with store.opened(results) as found:
            for one in found.results("list_contains(?, run_id)", [sorted(runs)]):
                self._results[one.provenance.run_id, one.cell_id, one.probe] = one
                self._places |= {(one.provenance.run_id,), (one.provenance.run_id, one.cell_id)}

    def holds(self, name: Path) -> bool:
        """Whether a file's content went into the archive: a result by itself, what lies beside it with any of them."""
        return self.result(name) is not None if name.match(RESULTS) else name.parts[:-1] in self._places

    def result(self, name: Path) -> Result | None:
        """The one whose file has this name below a folder of results."""
        if not name.match(RESULTS):
            return None
        run, cell, file = name.parts
        return self._results.get((run, cell, file.removesuffix(RESULT_ENDING)))

    def says(self, name: Path, path: Path) -> bool:
        """Whether it says the same; of logs, times and costs those that came first are kept."""
        return not name.match(RESULTS) or self.result(name) == _read(path)


def _read(path: Path) -> Result | None:
    try:
        return read_result(path)
    except SchemaError:
        return None  # no result, or none that anybody can read


def _withdraws(path: Path, before: Result | None) -> bool:
    """Whether a result file is an earlier result, measured by the same run, with its accusation taken back."""
    after = _read(path)
    return (
        after is not None
        and before is not None
        and after.verdict.status is Status.REF_SUSPECT
        and before.verdict.status.blames_engine
        and after.provenance == before.provenance
    )
