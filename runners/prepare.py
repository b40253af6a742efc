"""Everything a cell needs before its engine can start: environment, checkpoint, the engine's own weights."""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Cell, Model, Record
from matrix.load import Matrix
from runners import environments, models
from runners.engine import Engine, Environment
from runners.environments import Say
from runners.models import Checkpoint


class Prepared(Record, frozen=True, kw_only=True):
    """What a launch is made of."""

    environment: Environment
    model_path: Path
    """What the engine loads: the checkpoint, or its own file made of it."""


def reference_environment(matrix: Matrix, model: Model, say: Say = lambda line: None) -> Environment:
    """The environment of the reference forward pass that this model is pinned to."""
    return environments.build(model.reference, matrix.path(f"requirements/{model.reference}.txt"), say=say)


def checkpoint(matrix: Matrix, model: Model, say: Say = lambda line: None) -> Checkpoint:
    """The model as a Hugging Face folder."""
    return models.checkpoint(model, matrix.folder, reference_environment(matrix, model, say), say)


def prepare(matrix: Matrix, cell: Cell, engine: Engine, source: Checkpoint, say: Say = lambda line: None) -> Prepared:
    """Build or find what this cell's engine needs; raises Infrastructure where something cannot be had."""
    environment = environments.environment_of(cell.release, matrix.folder, say)
    return Prepared(
        environment=environment, model_path=models.own_weights(engine, environment, source, cell.dtype, say)
    )
