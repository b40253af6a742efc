"""Bring together what the jobs of a night have left: copied once, never overwritten, and nothing dropped in silence.

Kept is what pages, drafts and histories are made of. Measurements and whole logs stay in the artifacts of their cells.
"""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Record
from matrix.plan import NIGHT_ENDING
from matrix.results import LOG_TAIL, write_bytes
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


def collect(incoming: Path, results: Path) -> Collected:
    """Copy the files worth keeping from one folder of results to another; doing it twice changes nothing."""
    results.mkdir(parents=True, exist_ok=True)
    new, known, differing = 0, 0, []
    for path in sorted({path for pattern in KEPT for path in incoming.glob(pattern)}):
        name = path.relative_to(incoming)
        target, content = results / name, path.read_bytes()
        if not target.exists():
            write_bytes(target, content)
            new += 1
        elif target.read_bytes() == content:
            known += 1
        else:
            differing.append(name.as_posix())
    return Collected(new=new, known=known, differing=tuple(differing))
