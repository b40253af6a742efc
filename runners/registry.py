"""The engines this project knows: every module of `runners/engines/` that has an `ENGINE`."""

from __future__ import annotations

import importlib
import os
import pkgutil

import runners.engines
from runners.engine import Engine

MORE_ENGINES = "READINESS_ENGINES"
"""Environment variable with further modules, separated by commas: an engine of one's own needs no fork."""


def engines() -> dict[str, Engine]:
    """All engines by name; adding one is adding its file."""
    names = [f"runners.engines.{module.name}" for module in pkgutil.iter_modules(runners.engines.__path__)]
    names += [name for name in os.environ.get(MORE_ENGINES, "").split(",") if name]
    modules = [importlib.import_module(name) for name in names]
    found: list[Engine] = [module.ENGINE for module in modules]
    return {engine.name: engine for engine in found}
