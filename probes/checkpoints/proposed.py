"""The recipe of a model that a stranger has published: made only where it is certain to load and to stay tiny."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from matrix.cells import Kind, Record
from matrix.discover import NotUnderstood
from matrix.errors import WrongInput
from probes.checkpoints import recipes
from probes.checkpoints.kinds import kinds
from probes.checkpoints.recipes import Recipe
from probes.checkpoints.shrink import shrink, text_part


class Proposal(Record, frozen=True, kw_only=True):
    """What became of a recipe."""

    recipe: Recipe | None = None
    said: str
    """A sentence."""


def parts(config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Kind, ...]]:
    """The text part of a config, and what it is made of; raises NotUnderstood where that cannot be told."""
    try:
        text = text_part(config)
        return text, kinds(text)
    except Exception as error:  # these rules expect what trained models have, and a stranger wrote something else
        raise NotUnderstood(f"config.json does not say what its layers are ({type(error).__name__})") from error


def proposed(
    config: Mapping[str, Any], name: str, known: Mapping[str, Recipe], *, published: str, **about: str
) -> Proposal:
    """The recipe that is to be called `name`, unless it would be the same as one of those known, or may be large."""
    try:
        recipe = _recipe(config, published=published, **about)
    except WrongInput as error:
        return Proposal(said=f"no tiny recipe: {error}")
    except Exception as error:  # whatever a config does to the rules of shrinking, the model is a find all the same
        return Proposal(said=f"no tiny recipe: its config.json cannot be shrunk ({type(error).__name__})")
    same = next((other for other, one in known.items() if one.config == recipe.config), None)
    if same is not None:
        return Proposal(said=f"its tiny recipe would be that of `{same}`")
    if recipe.kept_large:
        count = len(recipe.kept_large)
        return Proposal(
            said=f"no tiny recipe: {count} of the numbers in its config.json may be sizes that nothing here knows"
        )
    if name in known:
        return Proposal(said=f"no tiny recipe: another one is called `{name}`")
    return Proposal(recipe=recipe, said=f"its tiny recipe is `{name}`")


def _recipe(config: Mapping[str, Any], *, published: str, **about: str) -> Recipe:
    """Read back as it would be written: a file that does not load would end every command."""
    shrunk = shrink(config)
    made = recipes.from_shrunk(shrunk, published=published, family=published.partition("/")[2], **about)
    read = msgspec.convert(tomllib.loads(recipes.to_toml(made)), Recipe)
    if read != made or read.whole_config() != shrunk.config:
        raise WrongInput("its config.json cannot be written as TOML")
    kinds(text_part(read.whole_config()))
    return read
