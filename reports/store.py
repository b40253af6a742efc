"""Read runs back from their folders; what cannot be read is named and set aside, never dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from matrix.cells import Record
from matrix.results import Result, SchemaError, Timings, read_json, read_result
from reports import cost
from reports.cost import Cost

T = TypeVar("T")


class Run(Record, frozen=True, kw_only=True):
    """One run as it lies on disk."""

    run_id: str
    folder: Path
    results: tuple[Result, ...]
    """By cell and probe, in the order in which they were measured."""
    seconds: dict[str, float]
    """Where the time of the cells went, over all of them."""
    cost: Cost | None
    """Of the whole run; None where it was not started by `readiness run`."""
    problems: tuple[str, ...]
    """Files that could not be read, and why."""


def read_run(folder: Path) -> Run:
    """Read one run."""
    problems: list[str] = []
    results = _readable(folder.glob("*/*.result.json"), read_result, problems)
    timings = _readable(folder.glob("*/timings.json"), lambda path: read_json(path, Timings), problems)
    costs = _readable(folder.glob(cost.FILE), lambda path: read_json(path, Cost), problems)
    seconds: dict[str, float] = {}
    for part, value in ((part, value) for cell in timings for part, value in cell.seconds.items()):
        seconds[part] = seconds.get(part, 0.0) + value
    return Run(
        run_id=folder.name,
        folder=folder,
        results=tuple(sorted(results, key=lambda result: (result.provenance.started_at, result.cell_id))),
        seconds=seconds,
        cost=costs[0] if costs else None,
        problems=tuple(problems),
    )


def _readable(paths: Iterable[Path], read: Callable[[Path], T], problems: list[str]) -> list[T]:
    """What can be read of some files, by name; what cannot is added to the problems."""
    found = []
    for path in sorted(paths):
        try:
            found.append(read(path))
        except SchemaError as error:
            problems.append(str(error))
    return found


def read_runs(results: Path) -> list[Run]:
    """All runs of a results folder, oldest first."""
    folders = [path for path in sorted(results.iterdir()) if path.is_dir()] if results.is_dir() else []
    return [read_run(folder) for folder in folders]


def latest(runs: list[Run]) -> list[Result]:
    """The newest result of every cell and probe, by cell and then in order of measuring."""
    newest: dict[tuple[str, str], Result] = {}
    for run in runs:
        for result in run.results:
            newest[(result.cell_id, result.probe)] = result
    return list(newest.values())
