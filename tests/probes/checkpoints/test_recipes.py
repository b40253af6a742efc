"""The recipes: complete, consistent, and told apart from what they were made of."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from matrix.cells import Model
from matrix.errors import WrongInput
from probes import tables
from probes.checkpoints import recipes
from probes.checkpoints.layers import TELLING_COUNTS
from probes.checkpoints.recipes import Recipe
from probes.checkpoints.shrink import Shrunk, text_part
from probes.checkpoints.sizes import VOCABULARY

FAMILIES = {
    "Gemma 3", "Gemma 4", "Qwen 2.5", "Qwen 3", "Qwen 3 Next", "Qwen 3.5", "Kimi K2", "Kimi K2.5", "Kimi Linear",
    "GLM 4", "GLM 4.x", "GLM 5", "MiniMax M2", "MiniMax M2.5", "gpt-oss", "Arcee", "AFMoE", "Nemotron-H", "Nemotron 3",
    "OLMo 2", "OLMo 3", "OLMo Hybrid", "Llama 2", "Llama 3.x", "Llama 4", "DeepSeek V2", "DeepSeek V3", "DeepSeek V3.2",
    "DeepSeek V4", "Mistral", "Ministral", "Phi", "Falcon-H1", "Granite 4 H", "LFM2", "SmolLM3",
}  # fmt: skip

BREAKPOINTS = ("sliding_window", "sliding_window_size", "attention_chunk_size", "index_topk", "mamba_chunk_size")

PROMPT = tables.matrix().devices["cpu-tiny"].workload.corpus_length

ALL = list(recipes.recipes().items())


def test_every_family_that_is_promised_is_there() -> None:
    """At least 45 architectures, by the class that a published file names."""
    assert {recipe.family for _, recipe in ALL} >= FAMILIES
    assert len({recipe.architecture for _, recipe in ALL}) >= 45


@pytest.mark.parametrize("recipe", [pytest.param(recipe, id=name) for name, recipe in ALL])
def test_a_recipe_is_tiny_and_its_breakpoints_lie_within_a_prompt(recipe: Recipe) -> None:
    """Or they would never be exercised; but a window that no position reaches when published reaches none here.

    A chunk is as long as the blocks of KV caches that engines divide it into, up to 128 tokens.
    """
    part = text_part(recipe.whole_config())
    assert part["vocab_size"] == VOCABULARY
    positions = part.get("max_position_embeddings", PROMPT)
    assert all(
        part[key] <= (128 if key == "attention_chunk_size" else PROMPT / 2) or part[key] >= positions
        for key in BREAKPOINTS
        if part.get(key)
    )
    telling = TELLING_COUNTS.get(part["model_type"], ())
    assert part.get("num_hidden_layers", 4) in (*range(17), *telling)


def test_a_recipe_survives_its_file() -> None:
    """TOML has no null, and has infinities: both come back, wherever they were."""
    config: dict[str, Any] = {"architectures": ["A"], "a": None, "b": {"c": None, "d": [0.0, float("inf")]}, "e": 1}
    made = recipes.from_shrunk(
        Shrunk(config=config, kept_large=("k = 300",), left_out=("auto_map: x",), added=()), published="x/y", family="F"
    )
    read = msgspec.convert(tomllib.loads(recipes.to_toml(made)), Recipe)
    assert read == made
    assert read.whole_config() == config
    assert read.nulls == ("a", "b.c")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """A slip of the keyboard costs no search."""
    with pytest.raises(WrongInput, match="did you mean 'gpt-oss-20b'"):
        recipes.named("gpt-os-20b")


def test_every_recipe_is_a_model_of_the_matrix() -> None:
    """Its id is one that a cell can carry, and says that it is tiny."""
    models = recipes.models()
    assert [model.id for model in models] == [f"tiny-{name}" for name, _ in ALL]
    assert msgspec.convert(msgspec.to_builtins(models), tuple[Model, ...]) == models
