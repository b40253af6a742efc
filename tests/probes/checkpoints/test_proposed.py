"""Recipes of strangers' configs: made where they load and stay tiny, and refused with a reason elsewhere."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.discover import NotUnderstood
from probes.checkpoints import proposed, recipes
from probes.checkpoints.proposed import Proposal
from probes.checkpoints.recipes import Recipe

CONFIG: dict[str, Any] = {
    "architectures": ["NewestForCausalLM"],
    "model_type": "newest",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "vocab_size": 100_000,
}


def propose(config: dict[str, Any], known: dict[str, Recipe] | None = None) -> Proposal:
    about = {"published": "lab/Newest-7B", "organisation": "Lab", "country": ""}
    return proposed.proposed(config, "newest-7b", known or {}, **about)


def test_a_recipe_reads_back_as_it_would_be_written() -> None:
    """With the size of a tiny model, and the name of the one that was published."""
    found = propose(CONFIG)
    assert found.recipe is not None and found.said == "its tiny recipe is `newest-7b`"
    assert msgspec.convert(tomllib.loads(recipes.to_toml(found.recipe)), Recipe) == found.recipe
    assert (found.recipe.published, found.recipe.family) == ("lab/Newest-7B", "Newest-7B")
    assert found.recipe.config["num_hidden_layers"] == 4


def test_the_same_tiny_model_is_not_proposed_twice() -> None:
    """Members of a class differ in size alone, which is gone when they have shrunk; nor are two called the same."""
    first = propose(CONFIG).recipe
    assert first is not None
    larger = {**CONFIG, "num_hidden_layers": 48, "vocab_size": 200_000}
    assert propose(larger, {"first": first}).said == "its tiny recipe would be that of `first`"
    other = {**CONFIG, "tie_word_embeddings": True}
    assert propose(other, {"newest-7b": first}).said == "no tiny recipe: another one is called `newest-7b`"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"new_kind_of_buffer": 10**12}, "1 of the numbers in its config.json may be sizes that nothing here knows"),
        ({"a.b": None}, "its config.json cannot be shrunk (KeyError)"),
        ({"hidden_size": "wide"}, "its config.json cannot be shrunk (ValueError)"),
        ({"num_attention_heads": float("nan")}, "its config.json cannot be shrunk (ValueError)"),
    ],
)
def test_what_is_not_certain_to_be_a_tiny_model_is_no_recipe(changed: dict[str, Any], said: str) -> None:
    """A file that does not load would end every command; one that is large would end a machine."""
    found = propose({**CONFIG, **changed})
    assert (found.recipe, found.said) == (None, f"no tiny recipe: {said}")


def test_what_does_not_say_what_it_is_made_of_is_not_understood() -> None:
    """A list of layers is a list."""
    with pytest.raises(NotUnderstood, match=r"does not say what its layers are \(TypeError\)"):
        proposed.parts({**CONFIG, "layer_types": 3})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from([*CONFIG]) | st.text(max_size=8), JSON, max_size=3))
def test_no_config_breaks_a_proposal(changed: dict[str, Any]) -> None:
    """Whatever becomes of it, it is said; a recipe loads, with every null where it was."""
    config = {**copy.deepcopy(CONFIG), **changed, "num_hidden_layers": 24}
    found = propose(config)
    assert found.said
    if found.recipe is not None:
        read = msgspec.convert(tomllib.loads(recipes.to_toml(found.recipe)), Recipe)
        assert read.whole_config().keys() <= config.keys() | {"vocab_size"}
