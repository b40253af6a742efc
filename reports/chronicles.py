"""What the time machine has left beside the results: the releases of each engine, and when each architecture came."""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Record
from matrix.chronicle import APPEARANCES, FOLDER, Appearance, Chronicle
from matrix.results import SchemaError, read_json


class Chronicles(Record, frozen=True, kw_only=True):
    """All of it."""

    engines: tuple[Chronicle, ...]
    appearances: dict[str, Appearance]
    """By architecture."""
    problems: tuple[str, ...]
    """Files that could not be read."""


def read(results: Path) -> Chronicles:
    """What lies beside the runs of a results folder; what cannot be read is named."""
    engines: list[Chronicle] = []
    appearances: list[Appearance] = []
    problems: list[str] = []
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            if path.name == APPEARANCES:
                appearances = read_json(path, list[Appearance])
            else:
                engines.append(read_json(path, Chronicle))
        except SchemaError as error:
            problems.append(str(error))
    return Chronicles(
        engines=tuple(engines),
        appearances={one.architecture: one for one in appearances},
        problems=tuple(problems),
    )
