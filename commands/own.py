"""Your own image, wheel or checkpoint: tables in which the profile `own` is the cell that is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from commands.options import MatrixOption, matrix_of, out
from matrix.cells import Device, Model, Profile, Record, Release
from matrix.errors import WrongInput
from matrix.load import Matrix, did_you_mean
from matrix.plan import plan
from probes import tables
from runners import own as room
from runners import own_model, registry

app = typer.Typer()

PROFILE = "own"


class Given(Record, frozen=True, kw_only=True):
    """Which build was asked for: at most one of the first three, or the newest stable release."""

    image: str | None
    wheel: str | None
    release: str | None
    version: str | None

    @property
    def launcher(self) -> Literal["auto", "venv", "docker"]:
        """A wheel that lies on this machine is seen by no container that an image is built in."""
        return "docker" if self.image is not None else "venv" if self.wheel is not None else "auto"


@app.command()
def own(
    engine: Annotated[str, typer.Option(metavar="NAME", help="Which engine it is.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Folder that the tables are written to.")],
    image: Annotated[
        str | None, typer.Option(metavar="REF", help="Your image: REPOSITORY:TAG[@sha256:DIGEST].")
    ] = None,
    wheel: Annotated[
        str | None, typer.Option(metavar="FILE", help="Your wheel of the engine, or a pattern that one file matches.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="ID", help="A known release; default: the newest stable one.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="What your build is called; default: the image's tag, the wheel's version.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="ID", help="A known model.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="DIR", help="Your checkpoint: a Hugging Face folder.")
    ] = None,
    hub: Annotated[str | None, typer.Option(metavar="REPO@SHA", help="A checkpoint on the Hub at a commit.")] = None,
    device: Annotated[str, typer.Option(metavar="ID", help="The kind of machine that this is.")] = "cpu",
    config: Annotated[str, typer.Option(metavar="ID", help="The launch settings.")] = "default",
    matrix: MatrixOption = None,
) -> None:
    """Write tables with your own image, wheel or checkpoint, and a profile `own` of that alone. Nothing is started.

    Then `readiness run --matrix DIR --profile own` asks it what every release and every model is asked.
    """
    _at_most_one({"--image": image, "--wheel": wheel, "--release": release})
    if _at_most_one({"--model": model, "--checkpoint": checkpoint, "--hub": hub}) is None:
        raise WrongInput("one of --model, --checkpoint and --hub is needed")
    if version is not None and image is None and wheel is None:
        raise WrongInput("--version is what an --image or a --wheel is called: give one of them")
    known = matrix_of(matrix)
    _known("--engine", engine, registry.engines())
    on = known.devices[_known("--device", device, known.devices)]
    asked = _model(known, model, checkpoint, hub)
    given = Given(image=image, wheel=wheel, release=release, version=version)
    with room.copied(known, into):
        built = _release(known, engine, given, on, into)
        profile = Profile(
            id=PROFILE,
            description="The image, wheel or checkpoint of whoever ran `readiness own`.",
            launcher=given.launcher,
            releases=(built.id,),
            models=(asked.id,),
            devices=(on.id,),
            configs=(_known("--config", config, known.configs),),
        )
        room.write(into, built, asked, profile)
        _tell(into)


def _at_most_one(options: Mapping[str, str | None]) -> str | None:
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise WrongInput(f"{' and '.join(given)}: expected one of them")
    return given[0] if given else None


def _known(option: str, name: str, known: Mapping[str, object]) -> str:
    if name not in known:
        raise WrongInput(f"{option}: unknown {name!r}{did_you_mean(name, list(known))}")
    return name


def _model(known: Matrix, model: str | None, checkpoint: str | None, hub: str | None) -> Model:
    if checkpoint is not None:
        return own_model.of_folder(checkpoint)
    if hub is not None:
        return own_model.of_hub(hub)
    return known.models[_known("--model", model or "", known.models)]


def _release(known: Matrix, engine: str, given: Given, on: Device, into: Path) -> Release:
    if given.release is not None:
        found = known.releases[_known("--release", given.release, known.releases)]
        if found.engine != engine:
            raise WrongInput(f"--release {found.id} is one of {found.engine}, and --engine says {engine}")
        return found
    if given.image is not None:
        return room.of_image(given.image, given.version, room.newest(known, engine), on)
    if given.wheel is not None:
        return room.of_wheel(room.wheel(given.wheel), given.version, room.newest(known, engine), on, into)
    return room.newest(known, engine)


def _tell(into: Path) -> None:
    """Read what was written as a run will, and say what that is; raises WrongInput where a rule leaves it out."""
    for planned in plan(tables.matrix(into), PROFILE):
        if planned.excluded is not None:
            raise WrongInput(f"{planned.cell.id} cannot be asked: {planned.excluded}")
        out.print(f"{planned.cell.id} ({planned.cell.build} build)")
    out.print(f"readiness run --matrix {into} --profile {PROFILE}")
