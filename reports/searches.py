"""What is known beside results: in which release a fault began, and whether a program of its own has shown it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from matrix import bisection, reproduction
from matrix.bisection import Bisection
from matrix.cells import Record
from matrix.reproduction import Reproduction
from matrix.results import read_json
from reports.runs import Unreadable, readable

T = TypeVar("T")


class Searches(Record, frozen=True, kw_only=True):
    """What lies beside the runs of a results folder."""

    bisections: tuple[Bisection, ...]
    reproductions: dict[str, Reproduction]
    """By the id of the failure."""
    problems: tuple[str, ...]
    """Files that could not be read."""


def read(results: Path) -> Searches:
    """All that there is; what cannot be read is named."""
    unreadable: list[Unreadable] = []
    bisections = _files(results / bisection.FOLDER, Bisection, unreadable)
    reproductions = _files(results / reproduction.FOLDER, Reproduction, unreadable)
    return Searches(
        bisections=tuple(bisections),
        reproductions={one.name: one for one in reproductions},
        problems=tuple(one.reason for one in unreadable),
    )


def _files(folder: Path, kind: type[T], unreadable: list[Unreadable]) -> list[T]:
    return readable(folder.glob("*.json"), lambda path: read_json(path, kind), unreadable)


def place(cell_id: str) -> tuple[str, ...]:
    """A cell without its release: a search is about an engine, whichever of its releases is asked."""
    release, *rest = cell_id.split("__")
    return (release.rpartition("-")[0], *rest)


def of_failure(bisections: Iterable[Bisection], cells: Sequence[str], probe: str) -> Bisection | None:
    """The search for the failure of a probe in some cells; of several the one that tried most."""
    places = {place(cell_id) for cell_id in cells}
    found = [one for one in bisections if one.probe == probe and one.trials and place(one.cell_id) in places]
    return max(found, key=lambda one: len(one.trials), default=None)


def began(bisections: Sequence[Bisection], cell_id: str, probes: Iterable[str]) -> Mapping[str, str]:
    """By probe, in which release its failure in a cell began."""
    found = {probe: of_failure(bisections, [cell_id], probe) for probe in probes}
    return {probe: bisection.answer(one).sentence for probe, one in found.items() if one is not None}
