"""Read runs back from their folders; what cannot be read is named and set aside, never dropped in silence."""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Record
from matrix.results import Result, SchemaError, read_json, read_result


class Run(Record, frozen=True, kw_only=True):
    """One run as it lies on disk."""

    run_id: str
    folder: Path
    results: tuple[Result, ...]
    """By cell and probe, in the order in which they were measured."""
    seconds: dict[str, float]
    """Where the time went, over all cells."""
    problems: tuple[str, ...]
    """Files that could not be read, and why."""


class _Timings(Record, frozen=True, kw_only=True):
    cell_id: str
    seconds: dict[str, float]


def read_run(folder: Path) -> Run:
    """Read one run."""
    results, problems = [], []
    for path in sorted(folder.glob("*/*.result.json")):
        try:
            results.append(read_result(path))
        except SchemaError as error:
            problems.append(str(error))
    seconds: dict[str, float] = {}
    for path in sorted(folder.glob("*/timings.json")):
        try:
            spent = read_json(path, _Timings).seconds
        except SchemaError as error:
            problems.append(str(error))
            continue
        for part, value in spent.items():
            seconds[part] = seconds.get(part, 0.0) + value
    results.sort(key=lambda result: (result.provenance.started_at, result.cell_id))
    return Run(run_id=folder.name, folder=folder, results=tuple(results), seconds=seconds, problems=tuple(problems))


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
