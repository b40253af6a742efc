"""Checkpoints that say what is written down, kept in the cache under everything that they are made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from matrix.errors import WrongInput
from matrix.load import did_you_mean
from probes.chat import formats
from runners import cache
from runners.engine import Environment
from runners.environments import Say
from runners.host import Host
from runners.models import Checkpoint

PROGRAM = Path(__file__).parent / "scripting"


def checkpoint(
    name: str, spoken: str, environment: Environment, host: Host, say: Say = lambda line: None
) -> Checkpoint:
    """The checkpoint that speaks a format, made by a host of that environment where it is not in the cache yet.

    Raises WrongInput for a format that there is not, Infrastructure where making it fails.
    """
    folder = formats.FOLDER / spoken
    if not folder.is_dir():
        known = sorted(path.name for path in formats.FOLDER.iterdir())
        raise WrongInput(f"{name}: there is no chat format {spoken!r}{did_you_mean(spoken, known)}")
    digest = hashlib.sha256(f"{name} {environment.folder.name}".encode())
    for path in (*sorted(PROGRAM.glob("*.py")), *sorted(folder.iterdir())):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    key = digest.hexdigest()

    def make(target: Path) -> None:
        say(f"writing a checkpoint that speaks {spoken}")
        host.run(PROGRAM, "--format", str(folder), "--out", str(target))

    made = cache.ensure("models", f"{name}-{key[:16]}", make, label=name)
    return Checkpoint(folder=made, digest=key)
