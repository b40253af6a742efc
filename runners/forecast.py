"""Level 0 foretold: which releases know a class, by their own registries, where an environment of theirs is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from matrix.cells import Release
from matrix.errors import ReadinessError
from matrix.load import Matrix
from runners import cache, claims, releases
from runners.claims import Registry
from runners.engine import Engine, Environment

WORDS = {"native": "knows it", "fallback": "by transformers' classes", "none": "does not know it"}


def newest(matrix: Matrix) -> list[Release]:
    """The newest stable release of each engine that has a lock."""
    engines = dict.fromkeys(release.engine for release in matrix.releases.values())
    locked = [[one for one in releases.stable(matrix, engine) if one.requirements is not None] for engine in engines]
    return [found[-1] for found in locked if found]


def registries(chosen: Iterable[Release], engines: Mapping[str, Engine]) -> dict[str, Registry | str]:
    """The registry of each release by its id, or why it is not known. Nothing is installed and no engine is started."""
    built = {entry.label: entry.key for entry, _ in cache.entries() if entry.kind == "environments"}
    found: dict[str, Registry | str] = {}
    for release in chosen:
        key = built.get(release.id)
        found[release.id] = "no environment here" if key is None else _registry(engines[release.engine], key)
    return found


def _registry(engine: Engine, key: str) -> Registry | str:
    folder = cache.root() / "environments" / key
    environment = Environment(folder=folder, python=folder / "bin" / "python", requirements_sha256="")
    try:
        return claims.in_environment(engine, environment) or "names no classes"
    except (ReadinessError, msgspec.MsgspecError, OSError):
        return "its registry cannot be read"


def foretold(registry: Registry | str, architecture: str, model_type: str) -> str:
    """A few words on a class."""
    if isinstance(registry, str):
        return f"unknown: {registry}"
    return WORDS[registry.claim(architecture, model_type).kind]
