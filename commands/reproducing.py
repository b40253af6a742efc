"""Repros: the program of a failure or of a finding, executed where its engine is installed, and what it showed."""

from __future__ import annotations

import datetime as dt
import hashlib
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from commands.options import MatrixOption, ResultsOption, matrix_of, out
from matrix.cells import Cell, RecipeSource
from matrix.errors import ReadinessError
from matrix.load import Matrix
from matrix.reproduction import FOLDER, WANTED, Launcher, Reproduction, Wanted
from matrix.results import Result, read_json, write_json
from matrix.untrusted import TEXT, safe
from probes.checkpoints import recipes
from probes.provenance import machine, without_places
from reports.bugs import repro
from reports.bugs.forms import forms
from runners import environments, limits, prepare, registry, repros
from runners.engine import SHIMS, Environment, Launch
from runners.repros import Ran

LAUNCHERS: dict[str, Launcher] = {"venv": "venv", "docker": "docker"}

app = typer.Typer()


@app.command()
def reproduce(
    drafts: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where `readiness bugs` has left what is wanted.")],
    matrix: MatrixOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Execute the repros of failures that are not filed before theirs has shown them, and keep what came of it.

    Each runs on the release and by the launcher that the failure was seen with, and needs neither results nor a token.
    What this machine has no accelerator or no environment for is left for another one.
    """
    there = matrix_of(matrix)
    cells = {cell.id: cell for cell in there.cells()}
    for path in sorted(drafts.glob(f"*{WANTED}")):
        asked = read_json(path, Wanted)
        cell = cells.get(asked.cell_id)
        found = None if cell is None else execute(asked.name, asked.program, there, cell, asked.launcher)
        if found is None:
            said = f"{asked.cell_id} is not in the matrix any more"
        elif found.exit_code == NOT_STARTED:
            said = f"not executed: {found.output}"
        else:
            write_json(results / FOLDER / f"{asked.name}.json", found)
            said = found.sentence
        out.print(f"{asked.name}: {said}")


def program_of(result: Result, written: Path) -> str | None:
    """The repro of a failure: what a person has written, or one made from the evidence; None where neither is."""
    if written.is_file():
        return written.read_text()
    source = result.cell.model.source
    config = recipes.named(source.recipe).whole_config() if isinstance(source, RecipeSource) else None
    engine = registry.engines().get(result.cell.release.engine)
    form = forms().get(result.cell.release.engine)
    if engine is None:
        return None
    return repro.program(result, form, config, engine.health_path, command=_command(result))


def _command(result: Result) -> tuple[str, ...]:
    """The engine's, as it was published; where it never came up, as it would be."""
    if result.provenance.command:
        return result.provenance.command
    engine = registry.engines()[result.cell.release.engine]
    here = Environment(folder=Path("ENVIRONMENT"), python=Path("python"), requirements_sha256="")
    launch = Launch(cell=result.cell, environment=here, model_path=Path("MODEL"), port=1, shims=SHIMS)
    return launch.published(("python", *engine.command(launch)))


def is_of(known: Reproduction, program: str, result: Result) -> bool:
    """Whether an execution is of this very program on the release that the failure is told of."""
    return known.program_sha256 == digest(program) and known.release_id == result.cell.release.id


def wanted(name: str, program: str, result: Result) -> Wanted | None:
    """What has to be executed of a failure; None where its server was somebody else's."""
    launcher = LAUNCHERS.get(result.provenance.launcher)
    if launcher is None:
        return None
    return Wanted(name=name, cell_id=result.cell_id, launcher=launcher, program=program)


def execute(name: str, program: str, matrix: Matrix, cell: Cell, launcher: Launcher) -> Reproduction:
    """Run a program in the environment, or the image, of a cell's release; what cannot be run is `untried`."""
    ran_at = dt.datetime.now(dt.UTC)
    with tempfile.TemporaryDirectory(prefix="program-") as folder:
        path = Path(folder) / "repro.py"
        path.write_text(program)
        path.chmod(0o644)
        run = _in_image if launcher == "docker" else _in_venv
        ran, report, digests = run(matrix, cell, path)
    outcomes: dict[int, Literal["shown", "gone"]] = {1: "shown", 0: "gone"}
    return Reproduction(
        name=name,
        release_id=cell.release.id,
        build=cell.build,
        build_note=cell.build_note,
        outcome="untried" if ran.crashed else outcomes.get(ran.exit_code, "untried"),
        exit_code=ran.exit_code,
        output=_kept(ran.output),
        program_sha256=digest(program),
        launcher=launcher,
        requirements_sha256=digests.get("requirements"),
        image_digest=digests.get("image"),
        machine=machine(),
        environment_report=None if report is None else _kept(report),
        ran_at=ran_at,
    )


def digest(program: str) -> str:
    """By which an execution belongs to a program."""
    return hashlib.sha256(program.encode()).hexdigest()


NOT_STARTED = -1
"""In the place of an exit status."""

Shown = tuple[Ran, str | None, dict[str, str | None]]


def _in_venv(matrix: Matrix, cell: Cell, path: Path) -> Shown:
    engine = registry.engines()[cell.release.engine]

    def run() -> Shown:
        lock = environments.environment_of(cell.release, matrix.folder).requirements_sha256
        report = repros.report_in_venv(matrix, engine, cell)
        return repros.in_venv(matrix, engine, cell, path), report, {"requirements": lock}

    return _or_untried(run)


def _in_image(matrix: Matrix, cell: Cell, path: Path) -> Shown:
    engine = registry.engines()[cell.release.engine]

    def run() -> Shown:
        image = prepare.image_of(matrix, cell)
        ran = repros.in_image(engine, cell, image, path, limits.limits(cell, 0))
        return ran, None, {"image": image.digest, "requirements": image.requirements_sha256}

    return _or_untried(run)


def _or_untried(run: Callable[[], Shown]) -> Shown:
    try:
        return run()
    except ReadinessError as error:
        return Ran(exit_code=NOT_STARTED, output=str(error)), None, {}


def _kept(text: str) -> str:
    """Fit to be published: a kernel's release may name who built it for which cloud."""
    return safe(without_places(text).replace(platform.release(), "KERNEL"), TEXT)
