"""From a recipe to a checkpoint folder, kept in the cache under everything that it is made of."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import msgspec

from matrix.cells import Record
from probes.checkpoints.recipes import Recipe
from runners import cache
from runners.engine import Environment
from runners.environments import Say
from runners.host import Host
from runners.models import Checkpoint

PROGRAM = Path(__file__).parent / "program"
RECORD = "checkpoint.json"
"""What the program leaves beside the weights."""


class Made(Record, frozen=True, kw_only=True):
    """What was measured while a checkpoint's weights were drawn."""

    model_class: str = msgspec.field(name="class")
    parameters: int
    transformers: str
    measured: dict[str, float]
    silent: dict[str, float]
    """Tensors whose loss would not be seen, with how far (nats) the output moves without them."""
    seconds: float


def checkpoint(
    name: str, recipe: Recipe, environment: Environment, host: Host, say: Say = lambda line: None
) -> Checkpoint:
    """The tiny checkpoint of a recipe, made by a host of that environment where it is not in the cache yet.

    Raises WrongInput where transformers has no class for it, Infrastructure where making it fails otherwise.
    """
    given = {"config": recipe.whole_config(), "names": recipe.names, "processor": recipe.processor}
    texts = {option: json.dumps(content, indent=2) for option, content in given.items()}
    digest = hashlib.sha256(f"{name} {environment.folder.name} {' '.join(texts.values())}".encode())
    for path in sorted(PROGRAM.glob("*.py")):
        digest.update(path.read_bytes())
    key = digest.hexdigest()

    def make(folder: Path) -> None:
        say(f"drawing the weights of a tiny {recipe.architecture}")
        with tempfile.TemporaryDirectory() as beside:
            options: list[str] = []
            for option, text in texts.items():
                path = Path(beside) / f"{option}.json"
                path.write_text(text)
                options += [f"--{option}", str(path)]
            host.run(PROGRAM, *options, "--name", name, "--out", str(folder))

    folder = cache.ensure("models", f"{name}-{key[:16]}", make, label=name)
    return Checkpoint(folder=folder, digest=key)


def made(folder: Path) -> Made:
    """The record of a checkpoint that `checkpoint` made."""
    return msgspec.json.decode((folder / RECORD).read_bytes(), type=Made)


def copy_to(found: Checkpoint, target: Path) -> None:
    """A checkpoint's files in a folder of the user's."""
    shutil.copytree(found.folder, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
