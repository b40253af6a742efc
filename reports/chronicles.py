"""What the time machine has left beside the results: the releases of each engine, and when each architecture came."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from matrix.cells import Record
from matrix.chronicle import APPEARANCES, FOLDER, Appearance, Chronicle
from matrix.results import read_json
from reports.runs import Unreadable, readable


class Chronicles(Record, frozen=True, kw_only=True):
    """All of it."""

    engines: tuple[Chronicle, ...]
    appearances: dict[str, Appearance]
    """By architecture."""
    problems: tuple[str, ...]
    """Files that could not be read."""


def read(results: Path) -> Chronicles:
    """What lies beside the runs of a results folder; what cannot be read is named."""
    unreadable: list[Unreadable] = []
    files = {path.name: path for path in (results / FOLDER).glob("*.json")}
    known = [files.pop(APPEARANCES)] if APPEARANCES in files else []
    engines = readable(files.values(), lambda path: read_json(path, Chronicle), unreadable)
    appearances = readable(known, lambda path: read_json(path, list[Appearance]), unreadable)
    return Chronicles(
        engines=tuple(engines),
        appearances={one.architecture: one for one in chain(*appearances)},
        problems=tuple(one.reason for one in unreadable),
    )
