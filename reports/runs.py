"""Read runs back from their folders; what cannot be read is named and set aside, never dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from matrix import bisection, chronicle, reproduction
from matrix.cells import Record
from matrix.plan import NIGHT_ENDING, Night
from matrix.results import LOG_TAIL, RESULT_ENDING, Result, SchemaError, Status, Timings, read_json, read_result
from reports import cost
from reports.cost import Cost
from reports.standing import launch

ARCHIVE, ASIDE = "archive", "aside"
"""Beside the runs: what is compacted, and files that nobody could read."""
NO_RUNS = (ARCHIVE, ASIDE, bisection.FOLDER, reproduction.FOLDER, chronicle.FOLDER)

RESULTS, TIMINGS, TAILS = f"*/*{RESULT_ENDING}", "*/timings.json", f"*/{LOG_TAIL}"
"""Files of a run, below its folder."""

T = TypeVar("T")


class Unreadable(Record, frozen=True, kw_only=True):
    """A file that is not what its name says."""

    path: Path
    reason: str
    """Names the file."""


class Run(Record, frozen=True, kw_only=True):
    """One run as it lies on disk."""

    run_id: str
    folder: Path
    results: tuple[Result, ...]
    """By cell and probe, in the order in which they were measured."""
    timings: tuple[Timings, ...]
    log_tails: tuple[Path, ...]
    """The last lines of engines' logs, each in its cell's folder."""
    files: tuple[Path, ...]
    """All that could be read, the log tails among them."""
    cost: Cost | None
    """Of the whole run; None where it was not started by `readiness run`."""
    unreadable: tuple[Unreadable, ...]

    @property
    def seconds(self) -> dict[str, float]:
        """Where the time of the cells went, over all of them."""
        total: dict[str, float] = {}
        for part, value in ((part, value) for cell in self.timings for part, value in cell.seconds.items()):
            total[part] = total.get(part, 0.0) + value
        return total

    @property
    def problems(self) -> tuple[str, ...]:
        """Files that could not be read, and why."""
        return tuple(file.reason for file in self.unreadable)

    def finished(self, probes: Collection[str]) -> set[str]:
        """Cells that need not be run again."""
        return answered(self.results, probes)


class Runs(Record, frozen=True, kw_only=True):
    """A folder of results: its runs, and the nights that most of them belong to."""

    folder: Path
    runs: tuple[Run, ...]
    """By name, which begins with the time."""
    nights: tuple[Night, ...]
    """Oldest first."""
    unreadable: tuple[Unreadable, ...]
    """Plans of nights; what runs hold is theirs."""

    @property
    def problems(self) -> tuple[str, ...]:
        """All files that could not be read, and why."""
        return tuple(file.reason for file in (*self.unreadable, *(one for run in self.runs for one in run.unreadable)))


def answered(results: Sequence[Result], probes: Collection[str]) -> set[str]:
    """Cells of which every probe has answered, or cannot since the engine broke before it in the same run."""
    broke = {launch(result) for result in results if result.verdict.status.blames_engine}
    found: dict[str, set[str]] = {}
    for result in results:
        status = result.verdict.status
        if status.measured or (status is Status.NOTRUN and launch(result) in broke):
            found.setdefault(result.cell_id, set()).add(result.probe)
    return {cell for cell, of_cell in found.items() if of_cell >= set(probes)}


def read(folder: Path) -> Runs:
    """Read a results folder; one that does not exist is empty."""
    unreadable: list[Unreadable] = []
    nights = readable(folder.glob(f"*{NIGHT_ENDING}"), lambda path: read_json(path, Night), unreadable)
    runs = [read_run(path) for path in _run_folders(folder)]
    return Runs(
        folder=folder,
        runs=tuple(runs),
        nights=tuple(sorted(nights, key=lambda night: night.planned_at)),
        unreadable=tuple(unreadable),
    )


def _run_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name not in NO_RUNS]


def read_run(folder: Path) -> Run:
    """Read one run."""
    unreadable: list[Unreadable] = []
    files = {pattern: sorted(folder.glob(pattern)) for pattern in (RESULTS, TIMINGS, TAILS, cost.FILE)}
    results = readable(files[RESULTS], read_result, unreadable)
    timings = readable(files[TIMINGS], lambda path: read_json(path, Timings), unreadable)
    costs = readable(files[cost.FILE], lambda path: read_json(path, Cost), unreadable)
    damaged = {file.path for file in unreadable}
    return Run(
        run_id=folder.name,
        folder=folder,
        results=tuple(sorted(results, key=lambda result: (result.provenance.started_at, result.cell_id))),
        timings=tuple(timings),
        log_tails=tuple(files[TAILS]),
        files=tuple(path for found in files.values() for path in found if path not in damaged),
        cost=costs[0] if costs else None,
        unreadable=tuple(unreadable),
    )


def readable(paths: Iterable[Path], read: Callable[[Path], T], unreadable: list[Unreadable]) -> list[T]:
    """What can be read of some files, by name; what cannot is added to the unreadable."""
    found = []
    for path in sorted(paths):
        try:
            found.append(read(path))
        except SchemaError as error:
            unreadable.append(Unreadable(path=path, reason=str(error)))
    return found
