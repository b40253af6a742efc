"""The engines this project knows: every module of `runners/engines/` that has an `ENGINE`."""

from __future__ import annotations

import importlib
import os
import pkgutil

import runners.engines
from matrix.errors import WrongInput
from runners.engine import Engine

MORE_ENGINES = "READINESS_ENGINES"
"""Environment variable with further modules, separated by commas: an engine of one's own needs no fork."""


def engines() -> dict[str, Engine]:
    """All engines by name; adding one is adding its file. Raises WrongInput for a module that is no engine's."""
    names = [f"runners.engines.{module.name}" for module in pkgutil.iter_modules(runners.engines.__path__)]
    names += [name for name in os.environ.get(MORE_ENGINES, "").split(",") if name]
    return {engine.name: engine for engine in map(_engine, names)}


def _engine(module: str) -> Engine:
    try:
        found = importlib.import_module(module).ENGINE
    except ModuleNotFoundError as error:
        raise WrongInput(f"{MORE_ENGINES}: {module}: {error}") from error
    except AttributeError:
        raise WrongInput(f"{MORE_ENGINES}: {module} has no ENGINE") from None
    if not isinstance(found, Engine):
        raise WrongInput(
            f"{MORE_ENGINES}: ENGINE of {module} is {type(found).__name__}, expected runners.engine.Engine"
        )
    return found
