"""The matrix with everything that this program knows: its engines, its probes, and its tiny checkpoints."""

from __future__ import annotations

from pathlib import Path

from matrix import load
from matrix.load import Matrix
from probes import registry as probe_registry
from probes.checkpoints import recipes
from runners import registry as engine_registry


def matrix(folder: Path = load.PACKAGED) -> Matrix:
    """The tables of a folder, checked; raises WrongInput at the first slip in them."""
    return load.load(folder, engines=engine_registry.engines(), probes=probe_registry.probes(), models=recipes.models())
