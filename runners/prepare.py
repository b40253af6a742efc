"""Everything a cell needs before its engine can start: environment or image, checkpoint, the engine's own weights."""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Cell, Model, Record
from matrix.load import Matrix
from runners import claims, containers, daemon, docker, environments, images, models
from runners.engine import SHIMS, Claim, Conversion, Engine, Environment
from runners.environments import Say
from runners.images import Ready
from runners.models import Checkpoint


class Prepared(Record, frozen=True, kw_only=True):
    """What a launch is made of."""

    environment: Environment
    """The virtual environment, or the one inside the image."""
    image: Ready | None
    """None for the venv launcher."""
    model_path: Path
    """What the engine loads: the checkpoint, or its own file made of it."""
    claim: Claim | None
    """Whether the release claims to run the model; None where that cannot be read."""


def reference_environment(matrix: Matrix, model: Model, say: Say = lambda line: None) -> Environment:
    """The environment of the reference forward pass that this model is pinned to."""
    return environments.build(model.reference, matrix.path(f"requirements/{model.reference}.txt"), say=say)


def checkpoint(matrix: Matrix, model: Model, say: Say = lambda line: None) -> Checkpoint:
    """The model as a Hugging Face folder."""
    return models.checkpoint(model, matrix.folder, reference_environment(matrix, model, say), say)


def image_of(matrix: Matrix, cell: Cell, say: Say = lambda line: None) -> Ready:
    """The image of a cell's release for its device, pulled or built where it is not here."""
    with daemon.connected() as client:
        return images.ready(client, cell, matrix.folder, say)


def in_venv(matrix: Matrix, cell: Cell, engine: Engine, source: Checkpoint, say: Say = lambda line: None) -> Prepared:
    """Build or find what a cell's engine needs in a virtual environment; raises Infrastructure."""
    environment = environments.environment_of(cell.release, matrix.folder, say)

    def convert(target: Path) -> None:
        assert engine.convert is not None
        asked = Conversion(
            environment=environment, checkpoint=source.folder, target=target, dtype=cell.dtype,
            quantization=engine.makes(cell.config), shims=SHIMS,
        )  # fmt: skip
        models.convert(environment.python, engine.convert(asked))

    registry = claims.in_environment(engine, environment)
    claim = claims.of_checkpoint(registry, source.folder, cell.model.architecture)
    with claims.told(claim):
        weights = models.own_weights(engine, environment.folder.name, convert, source, cell, say)
    return Prepared(environment=environment, image=None, model_path=weights, claim=claim)


def in_docker(matrix: Matrix, cell: Cell, engine: Engine, source: Checkpoint, say: Say = lambda line: None) -> Prepared:
    """The same in an image; the engine's converter runs in it too, as isolated as the engine."""
    image = image_of(matrix, cell, say)
    models.make_readable(source.folder)

    def convert(target: Path) -> None:
        docker.convert(engine, image, source.folder, target, cell)

    claim = claims.of_checkpoint(docker.registry(engine, image), source.folder, cell.model.architecture)
    with claims.told(claim):
        weights = models.own_weights(engine, image.id, convert, source, cell, say)
    return Prepared(environment=containers.inside(image), image=image, model_path=weights, claim=claim)
