"""Cells on past releases of their engine: which of these, a matrix of its own for each, an ordinary run."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO

from matrix.cells import HISTORY, Cell
from matrix.errors import Infrastructure
from matrix.load import Matrix
from probes import tables
from runners import releases
from runners.releases import Past

STATUSES = (0, 1, 3)
"""Of `readiness run`, when it got through: as expected, an engine failed, something could not be measured."""


def inside(
    matrix: Matrix, cells: Sequence[Cell], past: Past, folder: Path, probes: Sequence[str], *, profile: str = HISTORY
) -> list[Cell]:
    """The same cells, of one engine, on a past release of it, in a matrix that is written into `folder`.

    Raises Infrastructure where that release cannot be installed here.
    """
    release_id = releases.add_release(matrix, cells[0].release, past, folder)
    releases.choose(folder, profile, [release_id], cells, probes)
    wanted = {"__".join((release_id, *cell.id.split("__")[1:])) for cell in cells}
    return [cell for cell in tables.matrix(folder).cells() if cell.id in wanted]


def measure(
    folder: Path, cells: Collection[str], results: Path, launcher: str, workers: int = 1, *, profile: str = HISTORY
) -> None:
    """Run cells of the matrix in `folder`/matrix by the front door, as anybody would; the run lies in `results`.

    Raises Infrastructure where the run itself did not get through.
    """
    command = [
        sys.executable, "-m", "readiness", "run", "--matrix", str(folder / "matrix"), "--profile", profile,
        *(word for cell in sorted(cells) for word in ("--select", cell)), "--launcher", launcher,
        "--results", str(results), "--site", str(folder / "site"), "--junit", str(folder / "junit.xml"),
        "--workers", str(workers),
    ]  # fmt: skip
    with (folder / "run.log").open("ab") as log:
        code = _status(command, log)
    if code not in STATUSES:
        raise Infrastructure(f"`readiness run` ended with status {code}; its words are in {folder.name}/run.log")


def _status(command: Sequence[str], log: IO[bytes]) -> int:
    """How it ends. Where we are stopped, it is stopped too, once, and takes its engines down before we go on."""
    # In a session of its own: from the terminal's group it would have Ctrl-C a second time, amid its taking down.
    run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        return run.wait()
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()


def spread(published: Sequence[Past], most: int | None) -> list[Past]:
    """At most so many releases, the first and the last among them, evenly by their number."""
    if most is None or len(published) <= most:
        return list(published)
    if most == 1:
        return [published[-1]]
    steps = [round(place * (len(published) - 1) / (most - 1)) for place in range(most)]
    return [published[step] for step in steps]


def since(published: Sequence[Past], day: dt.date, last: str) -> list[Past]:
    """Those released from a day on, up to a version."""
    until = next((index for index, past in enumerate(published) if past.version == last), len(published) - 1)
    return [past for past in published[: until + 1] if past.released >= day]
