"""Repros: the program of a failure or of a finding, executed where its engine is installed, and what it showed."""

from __future__ import annotations

import datetime as dt
import hashlib
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from matrix.cells import Cell, RecipeSource
from matrix.errors import ReadinessError
from matrix.load import Matrix
from matrix.reproduction import Reproduction
from matrix.results import Result
from matrix.untrusted import TEXT, safe
from probes.checkpoints import recipes
from probes.provenance import machine, without_places
from reports.bugs import repro
from reports.bugs.forms import forms
from runners import environments, limits, prepare, registry, repros
from runners.engine import SHIMS, Environment, Launch
from runners.repros import Ran


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


def execute(name: str, program: str, matrix: Matrix, cell: Cell, launcher: Literal["venv", "docker"]) -> Reproduction:
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
        return Ran(exit_code=-1, output=str(error)), None, {}


def _kept(text: str) -> str:
    """Fit to be published: a kernel's release may name who built it for which cloud."""
    return safe(without_places(text).replace(platform.release(), "KERNEL"), TEXT)
