"""How cells share a machine when pytest-xdist runs several at once."""

from __future__ import annotations

import psutil
from xdist.scheduler import LoadScopeScheduling


class CellScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """All probes of a cell go to one worker, so its engine starts once.

    Not `--dist loadgroup`: pytest-xdist 3.8 marks groups by setting a private attribute of pytest's items, which
    pytest 9.2 ignores without a word; every engine was then started by every worker.
    """

    def _split_scope(self, nodeid: str) -> str:
        """`…::test_cell[CELL-PROBE]` without its probe, whose name has no hyphen: it is a module's."""
        return nodeid.rpartition("-")[0]


def take_cores(index: int, count: int) -> None:
    """Leave this process and its engines every `count`-th of the cores, from `index` on.

    Engines spin at the barriers of their thread pools: two that share cores slow each other down fiftyfold, and a
    deadline then blames the engine for what we did. With more workers than cores, the cores stay shared.
    """
    process = psutil.Process()
    mine = process.cpu_affinity()[index::count]
    if mine:
        process.cpu_affinity(mine)
