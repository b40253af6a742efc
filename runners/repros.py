"""A standalone program that shows a fault, run where an engine is installed: it exits 1 with the fault, 0 without."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from uv import find_uv_bin

from matrix.cells import Cell, Record
from matrix.errors import Infrastructure
from matrix.load import Matrix
from runners import docker, environments, leases, owner, venv
from runners.engine import SHIMS, Engine, Environment, Launch
from runners.images import Ready
from runners.limits import Limits

DEADLINE_S = 600.0
"""For starting an engine, a few questions and the comparison; a first start may compile."""

REPORT_DEADLINE_S = 180.0
"""For an engine's own report of its environment."""


UNCAUGHT = re.compile(r"[\w.]*(?:Error|Exception|KeyboardInterrupt)\b")
"""How the last line begins that Python writes of an exception that nobody caught."""


class Ran(Record, frozen=True, kw_only=True):
    """How a program went."""

    exit_code: int
    output: str

    @property
    def crashed(self) -> bool:
        """True where Python itself ended it: a program that does not know its own crash exits 1 by it."""
        return self.exit_code == 1 and UNCAUGHT.match(self.last_line) is not None

    @property
    def last_line(self) -> str:
        """What it said last; programs of ours end with what they found."""
        said = [line.strip() for line in self.output.splitlines() if line.strip()]
        return said[-1][:300] if said else f"exit code {self.exit_code}, without a word"


def in_venv(matrix: Matrix, engine: Engine, cell: Cell, program: Path) -> Ran:
    """Run a program in the environment of a cell's release, with the stand-ins that its build needs.

    It runs in an empty folder that is gone afterwards. Raises Infrastructure where the environment cannot be built or
    the program does not end in time; it and all that it started are taken down.
    """
    environment = environments.environment_of(cell.release, matrix.folder)
    return _in_environment(engine, cell, environment, [str(program.resolve())], DEADLINE_S)


def report_in_venv(matrix: Matrix, engine: Engine, cell: Cell) -> str | None:
    """What an engine says of its own environment, by the command that its maintainers ask for; None where none is."""
    if engine.environment_report is None:
        return None
    environment = environments.environment_of(cell.release, matrix.folder)
    return _in_environment(engine, cell, environment, list(engine.environment_report), REPORT_DEADLINE_S).output


def _in_environment(
    engine: Engine, cell: Cell, environment: Environment, arguments: list[str], deadline_s: float
) -> Ran:
    label = owner.label("repro")
    launch = Launch(cell=cell, environment=environment, model_path=Path("."), port=venv.free_port(), shims=SHIMS)
    with tempfile.TemporaryDirectory(prefix="repro-") as folder:
        log = Path(folder) / "output"
        variables = {**venv.variables(engine, launch, label), "TMPDIR": folder, **_as_activated(environment)}
        with log.open("wb") as file:
            process = venv.start((str(environment.python), *arguments), variables, Path(folder), file.fileno())
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(deadline_s)
            code = process.poll()
        finally:
            venv.take_down(process, label)
        output = log.read_text(errors="replace")
    if code is None:
        raise Infrastructure(f"{Path(arguments[0]).name} did not end within {deadline_s:.0f} s: {output[-300:]}")
    return Ran(exit_code=code, output=output)


def _as_activated(environment: Environment) -> dict[str, str]:
    """What a person has who has activated the environment, and uv at hand: reports of environments ask it."""
    places = (environment.python.parent, Path(find_uv_bin()).parent, *os.defpath.split(os.pathsep))
    return {"VIRTUAL_ENV": str(environment.folder), "PATH": os.pathsep.join(map(str, places))}


def in_image(engine: Engine, cell: Cell, image: Ready, program: Path, allowed: Limits) -> Ran:
    """The same in an image, on the cell's device, isolated as an engine is and without any network."""
    with leases.lease(cell, allowed) as ids:
        code, output = docker.run_program(engine, image, cell, program, ids)
    return Ran(exit_code=code, output=output)
