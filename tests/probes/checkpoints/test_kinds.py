"""What an architecture is made of."""

from __future__ import annotations

from typing import Any

import pytest

from probes.checkpoints import recipes
from probes.checkpoints.kinds import kinds


@pytest.mark.parametrize(
    ("recipe", "found"),
    [
        ("llama-3.2-1b-instruct", ("dense",)),
        ("qwen2.5-7b-instruct", ("dense",)),
        ("qwen3-30b-a3b", ("moe",)),
        ("gemma-3-1b-it", ("dense", "sliding-window")),
        ("gpt-oss-20b", ("moe", "sliding-window")),
        ("deepseek-v3.1", ("moe", "mla")),
        ("deepseek-v3.2", ("moe", "mla", "sparse-attention")),
        ("qwen3-next-80b-a3b-instruct", ("moe", "linear-attention")),
        ("falcon-h1-0.5b", ("dense", "state-space")),
        ("mistral-7b-v0.1", ("dense", "sliding-window")),
    ],
)
def test_published_models_are_what_they_are_known_for(recipe: str, found: tuple[str, ...]) -> None:
    """By their configs alone."""
    (model,) = [one for one in recipes.models() if one.id == f"tiny-{recipe}"]
    assert model.kinds == found


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, ("dense",)),
        ({"num_experts": 0, "sliding_window": None}, ("dense",)),
        ({"num_local_experts": 1}, ("dense",)),
        ({"sliding_window": 4096, "use_sliding_window": False}, ("dense",)),
        ({"layer_types": ["full_attention", "sliding_attention"]}, ("dense", "sliding-window")),
    ],
)
def test_keys_that_are_switched_off_count_for_nothing(config: dict[str, Any], found: tuple[str, ...]) -> None:
    """Published files have many."""
    assert kinds(config) == found


def test_every_recipe_is_either_dense_or_has_experts() -> None:
    """Never both, never neither."""
    for model in recipes.models():
        assert ("dense" in model.kinds) != ("moe" in model.kinds)
