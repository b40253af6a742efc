"""Bring together what the jobs of a night have left: copied once, not overwritten, and nothing dropped in silence.

One thing may follow later: that an engine is no longer accused, where the job of another one came in only now.

Kept is what pages, drafts and histories are made of. Measurements and whole logs stay in the artifacts of their cells.
"""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Record
from matrix.plan import NIGHT_ENDING
from matrix.results import LOG_TAIL, SchemaError, Status, read_result, write_bytes
from reports import cost

KEPT = (f"*{NIGHT_ENDING}", f"*/{cost.FILE}", "*/*/*.result.json", "*/*/timings.json", f"*/*/{LOG_TAIL}")
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
    new, known, differing, withdrawn = 0, 0, [], []
    for path in sorted({path for pattern in KEPT for path in incoming.glob(pattern)}):
        name = path.relative_to(incoming)
        target, content = results / name, path.read_bytes()
        if not target.exists():
            write_bytes(target, content)
            new += 1
        elif target.read_bytes() == content:
            known += 1
        elif _withdraws(path, target):
            write_bytes(target, content)
            withdrawn.append(name.as_posix())
        else:
            differing.append(name.as_posix())
    return Collected(new=new, known=known, differing=tuple(differing), withdrawn=tuple(withdrawn))


def _withdraws(path: Path, target: Path) -> bool:
    """Whether one result file is the other, measured by the same run, with its accusation taken back."""
    try:
        after, before = read_result(path), read_result(target)
    except SchemaError:
        return False  # no result, or none that anybody can read
    return (
        after.verdict.status is Status.REF_SUSPECT
        and before.verdict.status.blames_engine
        and after.provenance == before.provenance
    )
