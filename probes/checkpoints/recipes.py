"""Recipes: the shrunk configs of published models, one TOML file each, in `recipes/`.

A recipe states every key that the published config.json has. TOML has no null, so `nulls` lists the keys that are null.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomlkit

from matrix.cells import Model, RecipeSource, Record
from matrix.errors import WrongInput
from matrix.load import did_you_mean
from matrix.published import LENGTHS, has_media
from probes.checkpoints.kinds import kinds
from probes.checkpoints.shrink import Config, Shrunk, text_part
from probes.checkpoints.sizes import LONGEST

FOLDER = Path(__file__).parent / "recipes"
PREFIX = "tiny-"
"""Of the ids of models that are made of recipes."""


class Recipe(Record, frozen=True, kw_only=True):
    """What a tiny checkpoint is made of."""

    published: str
    """The model whose config.json this is, as its repository is called."""
    family: str
    organisation: str = ""
    country: str = ""
    known: Literal["verbatim", "reconstructed", "partial"] = "verbatim"
    """How the published file is known: as published; put together from what is documented; with keys missing."""
    note: str = ""
    text_only: bool = False
    """The class has parts for other media, which are built and never asked about."""
    left_out: tuple[str, ...] = ()
    """`key: why` of the published keys that are not here, or that are switched off."""
    added: tuple[str, ...] = ()
    """`key: why` of keys that the published file has not."""
    kept_large: tuple[str, ...] = ()
    """`key = value` of numbers that may be sizes and are as published."""
    nulls: tuple[str, ...] = ()
    """Keys, with those around them before a dot, whose value is null."""
    names: dict[str, str] = {}
    """Patterns in tensors' names as transformers writes them, and what the published files have instead."""
    processor: dict[str, Any] = {}
    """What engines read of an image processor's file and transformers' own class does not have."""
    config: dict[str, Any]

    @property
    def architecture(self) -> str:
        """The class that the published file names."""
        return str(self.config["architectures"][0])

    def whole_config(self) -> Config:
        """The config.json, nulls included."""
        config: Config = copy.deepcopy(self.config)
        for path in self.nulls:
            *around, key = path.split(".")
            place = config
            for name in around:
                place = place[name]
            place[key] = None
        return config


def from_shrunk(shrunk: Shrunk, **about: Any) -> Recipe:
    """The recipe of a config that was just shrunk."""
    media = has_media(shrunk.config)
    nulls = tuple(_nulls(shrunk.config))
    return Recipe(
        config=_without_nulls(shrunk.config), nulls=nulls, text_only=media,
        left_out=shrunk.left_out, added=shrunk.added, kept_large=shrunk.kept_large, **about,
    )  # fmt: skip


def _nulls(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if value is None:
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping):
            yield from _nulls(value, f"{prefix}{key}.")


def _without_nulls(config: Mapping[str, Any]) -> Config:
    return {
        key: _without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if value is not None
    }


def to_toml(recipe: Recipe) -> str:
    """The file of a recipe."""
    fields = msgspec.structs.asdict(recipe)
    given = {name: value for name, value in fields.items() if value not in ("", (), False, {})}
    return tomlkit.dumps({name: list(value) if isinstance(value, tuple) else value for name, value in given.items()})


@cache
def recipes() -> dict[str, Recipe]:
    """All recipes by name, which is the file's."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.toml"))}


def _read(path: Path) -> Recipe:
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Recipe)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise WrongInput(f"{path.name}: {error}") from None


def named(name: str) -> Recipe:
    """The recipe of that name; raises WrongInput with the nearest ones where there is none."""
    found = recipes().get(name.removeprefix(PREFIX))
    if found is None:
        raise WrongInput(f"no recipe is called {name!r}{did_you_mean(name, list(recipes()))}")
    return found


@cache
def models() -> tuple[Model, ...]:
    """The tiny checkpoint of every recipe as a model of the matrix."""
    return tuple(_model(name, recipe) for name, recipe in recipes().items())


def _model(name: str, recipe: Recipe) -> Model:
    part = text_part(recipe.whole_config())
    longest = next((part[key] for key in LENGTHS if isinstance(part.get(key), int)), LONGEST)
    return Model(
        id=f"{PREFIX}{name}",
        source=RecipeSource(recipe=name),
        architecture=recipe.architecture,
        kinds=kinds(part),
        dtype="float32",
        context_length=min(longest, LONGEST),
        text_only=recipe.text_only,
        organisation=recipe.organisation or None,
        country=recipe.country or None,
        note=f"Random weights in the architecture of {recipe.published}, shrunk in size only."
        + (" Text only: its other parts are there and not asked about." if recipe.text_only else ""),
    )
