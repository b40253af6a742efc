"""A published config comes out small, with every key and every relation that code depends on."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import WrongInput
from probes.checkpoints.shrink import LEFT_OUT, shrink
from probes.checkpoints.sizes import LONGEST, VOCABULARY, WINDOW

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008],
    "tie_word_embeddings": False,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "original_max_position_embeddings": 8192,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    },
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.0",
}


def shrunk(**changes: Any) -> dict[str, Any]:
    return shrink({**copy.deepcopy(LLAMA), **changes}).config


def test_every_key_stays_and_numbers_that_are_no_sizes_are_as_published() -> None:
    """What a class reads must be there; theta, eps and factors are not sizes."""
    config = shrunk()
    assert list(config) == [key for key in LLAMA if key != "transformers_version"]
    assert (config["rope_theta"], config["rms_norm_eps"]) == (500000.0, 1e-5)
    assert config["rope_scaling"] == {**LLAMA["rope_scaling"], "original_max_position_embeddings": 32}


def test_what_would_be_untrue_of_a_tiny_checkpoint_is_left_out_and_said() -> None:
    """Quantization and custom code are not there, and the record says so."""
    found = shrink({**LLAMA, "quantization_config": {"bits": 4}, "auto_map": {"AutoModel": "code.Model"}})
    assert not set(found.config) & set(LEFT_OUT)
    assert [line.split(":")[0] for line in found.left_out] == [
        "transformers_version",
        "quantization_config",
        "auto_map",
    ]


@pytest.mark.parametrize(
    ("heads", "kv", "expected"), [(32, 8, (4, 2)), (32, 1, (4, 1)), (32, 32, (4, 4)), (2, 1, (2, 1))]
)
def test_the_kind_of_attention_stays(heads: int, kv: int, expected: tuple[int, int]) -> None:
    """Multi-query, grouped and plain attention are different code."""
    config = shrunk(num_attention_heads=heads, num_key_value_heads=kv)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == expected


def test_a_head_that_is_not_hidden_by_heads_stays_so() -> None:
    """Code that computes the width of a head from the two would go unnoticed otherwise."""
    equal, apart = shrunk(head_dim=128), shrunk(head_dim=128, hidden_size=5120)
    assert equal["hidden_size"] == equal["num_attention_heads"] * equal["head_dim"]
    assert apart["hidden_size"] != apart["num_attention_heads"] * apart["head_dim"]


def test_a_scaled_length_keeps_its_factor() -> None:
    """YaRN's factor and the ratio of the two lengths must agree."""
    yarn = {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096}
    config = shrunk(max_position_embeddings=131072, rope_scaling=yarn)
    assert config["max_position_embeddings"] == 32 * config["rope_scaling"]["original_max_position_embeddings"]


def test_latent_attention_adds_up() -> None:
    """The parts of a query's head make the whole, where the file states all three."""
    config = shrunk(qk_nope_head_dim=192, qk_rope_head_dim=64, qk_head_dim=256, v_head_dim=256, kv_lora_rank=512)
    assert config["qk_nope_head_dim"] + config["qk_rope_head_dim"] == config["qk_head_dim"] == config["v_head_dim"]


def test_groups_of_experts_hold_two_each_and_enough_are_chosen_from() -> None:
    """A group is scored by its best two; the chosen groups hold all that is chosen."""
    config = shrunk(n_routed_experts=256, num_experts_per_tok=8, n_group=8, topk_group=4)
    assert config["n_routed_experts"] // config["n_group"] >= 2
    assert config["num_experts_per_tok"] <= config["topk_group"] * config["n_routed_experts"] // config["n_group"]


def test_as_many_layers_as_show_every_kind_and_one_after_them() -> None:
    """Five sliding layers and a full one: the seventh meets what the sixth left behind."""
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    config = shrunk(layer_types=(kinds * 6)[:32], sliding_window=4096)
    assert config["num_hidden_layers"] == len(config["layer_types"]) == 7
    assert config["layer_types"][:6] == kinds


def test_lists_that_number_layers_lose_the_numbers_beyond() -> None:
    """Counted from nought or from one, as their names say."""
    full = list(range(4, 33, 4))
    parts = {"kda_layers": [place for place in range(1, 33) if place not in full], "full_attn_layers": full}
    config = shrunk(linear_attn_config=parts)
    assert (config["num_hidden_layers"], config["linear_attn_config"]["full_attn_layers"]) == (5, [4])
    assert config["linear_attn_config"]["kda_layers"] == [1, 2, 3, 5]
    config = shrunk(attn_layer_indices=[5, 15, 25])
    assert (config["num_hidden_layers"], config["attn_layer_indices"]) == (7, [5])


def test_layers_that_share_keys_and_values_follow_one_of_each_kind() -> None:
    """Gemma 4's small models: the last layers use what earlier layers of their kind keep."""
    kinds = (["sliding_attention"] * 4 + ["full_attention"]) * 7
    config = shrunk(num_hidden_layers=35, layer_types=kinds[:35], num_kv_shared_layers=20)
    assert (config["num_hidden_layers"], config["num_kv_shared_layers"]) == (10, 5)
    assert config["layer_types"] == kinds[:10]


def test_a_number_by_which_an_engine_knows_the_model_stays() -> None:
    """llama.cpp knows EXAONE 4.0 32B and the query scale of Gemma 3 27B by their layers, and HunYuan by its length."""
    assert shrunk(model_type="exaone4", num_hidden_layers=64)["num_hidden_layers"] == 64
    assert shrunk(model_type="exaone4", num_hidden_layers=30)["num_hidden_layers"] == 4
    scaling = {"type": "dynamic", "alpha": 1000.0}
    assert shrunk(max_position_embeddings=32768, rope_scaling=scaling)["max_position_embeddings"] == 32768


def test_a_query_scale_stays_that_of_the_head_or_of_the_residual() -> None:
    """Gemma 3 has one or the other, by the model."""
    of_head = shrunk(hidden_size=1152, num_attention_heads=4, head_dim=256, query_pre_attn_scalar=256)
    assert of_head["query_pre_attn_scalar"] == of_head["head_dim"]
    of_residual = shrunk(hidden_size=5376, num_attention_heads=32, head_dim=128, query_pre_attn_scalar=168)
    assert of_residual["query_pre_attn_scalar"] * of_residual["num_attention_heads"] == of_residual["hidden_size"]


def test_layers_with_a_window_keep_their_share_of_key_heads() -> None:
    """MiMo has twice as many there, which transformers computes from the others."""
    config = shrunk(num_attention_heads=64, num_key_value_heads=4, swa_num_key_value_heads=8)
    assert (config["num_key_value_heads"], config["swa_num_key_value_heads"]) == (2, 4)


def test_a_head_width_that_stands_alone_stays() -> None:
    """Nemotron-H has it under a name that transformers does not read; beside `head_dim` it shrinks with that."""
    alone = {key: value for key, value in LLAMA.items() if key != "head_dim"}
    assert shrink({**alone, "attention_head_dim": 128}).config["attention_head_dim"] == 128
    assert shrunk(head_dim=128, attention_head_dim=128)["attention_head_dim"] == 64


def test_gemma_4_ends_with_a_full_layer() -> None:
    """Its class makes the last one so, whatever the config says; engines that read the config must see the same."""
    kinds = (["sliding_attention"] * 5 + ["full_attention"]) * 5
    config = shrunk(model_type="gemma4_text", num_hidden_layers=30, layer_types=kinds)
    assert config["layer_types"] == ["sliding_attention"] * 5 + ["full_attention"] * 2


def test_a_mamba_layer_is_as_wide_as_its_heads() -> None:
    """Where the published heads fill the inner width, the shrunk ones do."""
    config = shrunk(hidden_size=2048, mamba_n_heads=64, mamba_d_head=64, mamba_expand=2, mamba_d_state=128)
    assert config["mamba_n_heads"] * config["mamba_d_head"] == 2 * config["hidden_size"]


def test_a_large_number_that_nobody_knows_is_kept_and_said() -> None:
    """A new release may bring a size of a new name."""
    found = shrink({**LLAMA, "memory_bank_size": 65536, "text_config": None})
    assert found.config["memory_bank_size"] == 65536
    assert found.kept_large == ("memory_bank_size = 65536",)


def test_a_vocabulary_left_to_the_class_is_added_and_said() -> None:
    """A file of few keys takes the rest from its class, whose vocabulary is not the tokenizer's."""
    part = {key: value for key, value in LLAMA.items() if key not in ("vocab_size", "architectures")}
    found = shrink({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": part})
    assert found.config["text_config"]["vocab_size"] == VOCABULARY
    assert found.added == ("vocab_size: a size that the published file leaves to the class",)


def test_a_tower_is_small_and_its_ids_are_distinct() -> None:
    """Parts for images are built and never run; what marks an image in a text has a token of its own."""
    vision = {"hidden_size": 1152, "num_hidden_layers": 27, "patch_size": 14, "image_size": 896}
    part = {key: value for key, value in LLAMA.items() if key != "architectures"}
    config = shrink(
        {
            "architectures": ["XForConditionalGeneration"],
            "text_config": part,
            "vision_config": vision,
            "image_token_id": 262144,
            "boi_token_id": 255999,
        }
    ).config
    assert config["vision_config"] == {"hidden_size": 64, "num_hidden_layers": 2, "patch_size": 14, "image_size": 56}
    assert (config["image_token_id"], config["boi_token_id"]) == (4, 5)


def test_the_number_of_a_layer_is_not_taken_for_a_token() -> None:
    """ERNIE 4.5 says from which layer on there are experts, under a name that ends like that of a token."""
    config = shrunk(moe_layer_start_index=1, moe_layer_end_index=27, pad_token_id=0, ignore_index=-100)
    assert (config["moe_layer_start_index"], config["moe_layer_end_index"]) == (1, 4)
    assert (config["pad_token_id"], config["ignore_index"]) == (0, -100)


@pytest.mark.parametrize("published", [{}, {"model_type": "llama"}, {"architectures": []}, {"architectures": "Llama"}])
def test_what_names_no_architecture_is_refused(published: dict[str, Any]) -> None:
    """Nothing says what model it would be."""
    with pytest.raises(WrongInput, match="no `architectures`"):
        shrink(published)


@given(
    window=st.one_of(st.none(), st.integers(1, 2**20)),
    longest=st.integers(1, 2**24),
    vocabulary=st.integers(1, 2**20),
    layers=st.integers(1, 128),
)
def test_whatever_is_published_comes_out_small(window: int | None, longest: int, vocabulary: int, layers: int) -> None:
    """Breakpoints lie within a prompt, unless no position reaches them in the published model; and nothing grows."""
    config = shrunk(
        sliding_window=window, max_position_embeddings=longest, vocab_size=vocabulary, num_hidden_layers=layers,
        rope_scaling=None,
    )  # fmt: skip
    unreached = window is None or window >= longest
    assert config["sliding_window"] == (window if unreached else min(window or 0, WINDOW))
    assert config["max_position_embeddings"] == min(longest, LONGEST)
    assert config["vocab_size"] == VOCABULARY
    assert config["num_hidden_layers"] <= min(layers, 4)
