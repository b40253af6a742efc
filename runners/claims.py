"""What a release claims before it is launched: the architectures that its own registry names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from matrix.cells import Record
from matrix.errors import ReadinessError
from runners import cache, models
from runners.engine import Claim, Engine, Environment

PROGRAM = Path(__file__).parent / "registries"
ANSWER = "registry.json"


class Registry(Record, frozen=True, kw_only=True):
    """What a release names."""

    by: Literal["architecture", "model_type"]
    native: tuple[str, ...]
    fallback: tuple[str, ...]

    def claim(self, architecture: str, model_type: str) -> Claim:
        """What it says of a checkpoint with such a config."""
        name = architecture if self.by == "architecture" else model_type
        kind: Literal["native", "fallback", "none"] = "none"
        if name in self.native:
            kind = "native"
        elif name in self.fallback:
            kind = "fallback"
        return Claim(kind=kind, name=name)


def in_environment(engine: Engine, environment: Environment) -> Registry | None:
    """The registry of the release in a virtual environment; None where its engine's file does not say how."""
    if engine.registry is None:
        return None
    arguments = engine.registry(environment)
    return kept(environment.folder.name, lambda: models.run_program(environment.python, "-P", str(PROGRAM), *arguments))


def kept(home: str, read: Callable[[], str]) -> Registry:
    """The registry of an environment or an image, read once."""
    program = b"".join(path.read_bytes() for path in sorted(PROGRAM.glob("*.py")))
    key = f"{home.removeprefix('sha256:')}-{hashlib.sha256(program).hexdigest()[:16]}"

    def build(folder: Path) -> None:
        (folder / ANSWER).write_text(read().strip().splitlines()[-1])

    folder = cache.ensure("registries", key, build, label=f"registry of {home}")
    return msgspec.json.decode((folder / ANSWER).read_bytes(), type=Registry)


def of_checkpoint(registry: Registry | None, folder: Path, architecture: str) -> Claim | None:
    """What a registry says of a checkpoint; its config's own words where it has one."""
    if registry is None:
        return None
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    named = next(iter(config.get("architectures") or [architecture]))
    return registry.claim(named, str(config.get("model_type", "")))


@contextmanager
def told(claim: Claim | None) -> Iterator[None]:
    """Whatever goes wrong inside carries what the release claims."""
    try:
        yield
    except ReadinessError as error:
        if claim is not None:
            error.add_note(claim.sentence)
        raise
