"""Tiny checkpoints: of a recipe, or of a config.json that nobody here has seen before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from commands.options import err, out
from matrix import load
from matrix.cells import REFERENCE
from matrix.errors import WrongInput
from matrix.published import word
from probes.checkpoints import recipes, tiny
from probes.checkpoints.recipes import Recipe
from probes.checkpoints.shrink import shrink
from runners import environments
from runners.host import Host

app = typer.Typer()


@app.command()
def checkpoint(
    source: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY_OR_CONFIG_JSON", help="Name of a recipe, or a published config.json."),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write (default: tiny-NAME).")
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="Also write the recipe, as a file of its own.")
    ] = None,
) -> None:
    """Write a tiny checkpoint in the architecture of a published model; without a name, list the recipes.

    It runs on a laptop in seconds and shows whether an engine computes the architecture rightly.
    """
    if source is None:
        for name, known in recipes.recipes().items():
            out.print(f"{name:34} {known.architecture:38} {known.published}")
        return
    name, recipe = _recipe(source)
    folder = target or Path(f"{recipes.PREFIX}{name}")
    if folder.exists() and any(folder.iterdir()):
        raise WrongInput(f"{folder} is there and not empty; name another with --out")
    if recipe_file is not None:
        recipe_file.write_text(recipes.to_toml(recipe))
    environment = environments.build(REFERENCE, load.PACKAGED / f"requirements/{REFERENCE}.txt", say=err.print)
    with Host(environment.python) as host:
        found = tiny.checkpoint(f"{recipes.PREFIX}{name}", recipe, environment, host, err.print)
    tiny.copy_to(found, folder)
    _tell(recipe, tiny.made(found.folder), folder)


def _recipe(source: str) -> tuple[str, Recipe]:
    path = Path(source)
    if not path.is_file():
        if source.endswith(".json") or "/" in source:
            raise WrongInput(f"{source}: no such file")
        return source.removeprefix(recipes.PREFIX), recipes.named(source)
    try:
        published = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WrongInput(f"{path}: not JSON: {error}") from None
    if not isinstance(published, dict):
        raise WrongInput(f"{path}: found {type(published).__name__}, expected an object")
    shrunk = shrink(published)
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    known_as = str(published.get("_name_or_path") or name)
    return word(name) or "model", recipes.from_shrunk(shrunk, published=known_as, family=name)


def _tell(recipe: Recipe, made: tiny.Made, folder: Path) -> None:
    lines = [f"{folder}: a {made.model_class} of {made.parameters:,} parameters, made in {made.seconds:.0f} s"]
    lines += [f"left out: {what}" for what in recipe.left_out]
    lines += [f"added: {what}" for what in recipe.added]
    lines += [f"could not shrink: {what}" for what in recipe.kept_large]
    lines += [f"does not show: {name} (without it the output moves by {x:.1e} nats)" for name, x in made.silent.items()]
    if recipe.text_only:
        lines.append("text only: its other parts are there and not asked about")
    for line in lines:
        out.print(line)
