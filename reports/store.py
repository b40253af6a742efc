"""Read runs back from their folders; what cannot be read is named and set aside, never dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from matrix.cells import Record
from matrix.plan import NIGHT_ENDING, Night
from matrix.results import LOG_TAIL, Result, SchemaError, Status, Timings, read_json, read_result
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

    def finished(self, probes: Collection[str]) -> set[str]:
        """Cells that need not be run again: every probe has answered, or cannot since the engine broke before it."""
        by_cell: dict[str, dict[str, Status]] = {}
        for result in self.results:
            by_cell.setdefault(result.cell_id, {})[result.probe] = result.verdict.status
        return {cell for cell, found in by_cell.items() if set(found) >= set(probes) and _finished(found.values())}


def _finished(statuses: Collection[Status]) -> bool:
    broke = any(status.blames_engine for status in statuses)
    return all(status.measured or (broke and status is Status.NOTRUN) for status in statuses)


class Store(Record, frozen=True, kw_only=True):
    """A folder of results: its runs, and the nights that most of them belong to."""

    folder: Path
    runs: tuple[Run, ...]
    """By name, which begins with the time."""
    nights: tuple[Night, ...]
    """Oldest first."""
    problems: tuple[str, ...]
    """Of all files, and why each could not be read."""

    @property
    def results(self) -> list[Result]:
        """All of them, in the order in which they were measured."""
        found = [result for run in self.runs for result in run.results]
        return sorted(found, key=lambda result: (result.provenance.started_at, result.cell_id))

    def of_night(self, night: str) -> list[Result]:
        """What one nightly run has brought."""
        return [result for result in self.results if result.provenance.night == night]

    def measured(self, night: str, probes: Collection[str]) -> set[str]:
        """Cells of a nightly run of which every probe has been asked and has answered, or never can."""
        answered: dict[str, set[str]] = {}
        for result in self.of_night(night):
            if result.verdict.status.measured:
                answered.setdefault(result.cell_id, set()).add(result.probe)
        return {cell for cell, found in answered.items() if found >= set(probes)}

    def log_tail(self, result: Result) -> str:
        """The last lines of the engine's log in the run of a result; empty where none was kept."""
        path = self.folder / result.provenance.run_id / result.cell_id / LOG_TAIL
        return path.read_text(errors="replace") if path.is_file() else ""


class Standing(Record, frozen=True, kw_only=True):
    """What holds for one probe of one cell."""

    result: Result
    """The newest that settled something; where none did, the newest."""
    later: Result | None = None
    """The newest, where it settled nothing: the run that was no answer."""


def read(folder: Path) -> Store:
    """Read a results folder; one that does not exist is empty."""
    problems: list[str] = []
    nights = _readable(folder.glob(f"*{NIGHT_ENDING}"), lambda path: read_json(path, Night), problems)
    runs = [read_run(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    return Store(
        folder=folder,
        runs=tuple(runs),
        nights=tuple(sorted(nights, key=lambda night: night.planned_at)),
        problems=tuple(problems + [problem for run in runs for problem in run.problems]),
    )


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


def standing(results: Sequence[Result]) -> list[Standing]:
    """What holds for every cell and probe, from results in the order of measuring.

    A result that settles nothing, ours or undecided, does not take away what an earlier one has settled. A rule that
    excludes the cell does, and so do an engine that broke before the probe could run and doubt about the reference.
    """
    broke = {_launch(result) for result in results if result.verdict.status.blames_engine}
    found: dict[tuple[str, str], Standing] = {}
    for result in results:
        place = (result.cell_id, result.probe)
        before = found.get(place)
        if before is None or _settles(result, broke) or not _settles(before.result, broke):
            found[place] = Standing(result=result)
        else:
            found[place] = Standing(result=before.result, later=result)
    return list(found.values())


def _launch(result: Result) -> tuple[str, str]:
    return result.provenance.run_id, result.cell_id


def _settles(result: Result, broke: Collection[tuple[str, str]]) -> bool:
    status = result.verdict.status
    return status.settles or status is Status.SKIP or (status is Status.NOTRUN and _launch(result) in broke)
