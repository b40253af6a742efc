"""Bytes and FLOPs per token, against values worked out by hand from published configs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from probes.roofline.layers import Layer
from probes.roofline.tensors import Tensor
from probes.roofline.work import CHOSEN, Work, work

Table = dict[str, Tensor]


def of(*shape: int, dtype: str = "BF16") -> Tensor:
    return Tensor(dtype=dtype, shape=shape)


def attention(layer: int, *, hidden: int, q: int, kv: int) -> Table:
    names = {"q_proj": (q, hidden), "k_proj": (kv, hidden), "v_proj": (kv, hidden), "o_proj": (hidden, q)}
    return {f"model.layers.{layer}.self_attn.{name}.weight": of(*shape) for name, shape in names.items()}


def mlp(prefix: str, *, hidden: int, inner: int) -> Table:
    names = {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}
    return {f"{prefix}.{name}.weight": of(*shape) for name, shape in names.items()}


def ends(*, vocabulary: int, hidden: int, tied: bool = False) -> Table:
    embedding = {"model.embed_tokens.weight": of(vocabulary, hidden)}
    return embedding if tied else embedding | {"lm_head.weight": of(vocabulary, hidden)}


LLAMA_3_1_8B = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096}


def llama_3_1_8b() -> Table:
    table = ends(vocabulary=128256, hidden=4096)
    for layer in range(32):
        table |= attention(layer, hidden=4096, q=4096, kv=1024)
        table |= mlp(f"model.layers.{layer}.mlp", hidden=4096, inner=14336)
        table |= {f"model.layers.{layer}.{norm}.weight": of(4096) for norm in ("input_layernorm", "post_norm")}
    return table | {"model.norm.weight": of(4096)}


def test_llama_3_1_8b() -> None:
    """8,030,261,248 parameters, of which the 525,336,576 of the embedding are looked up; 128 KiB of cache per token."""
    found = work(LLAMA_3_1_8B, llama_3_1_8b(), itemsize=2)
    assert found.dense_bytes == 2 * (8_030_261_248 - 525_336_576)
    assert found.weight_bytes(1) == found.weight_bytes(64) == found.dense_bytes
    assert found.state_bytes(1) == 131_072
    assert found.step_bytes(16, 1000) == found.dense_bytes + 16 * 1000 * 131_072
    assert found.output_weights == 525_336_576
    assert found.active_weights == 6_979_321_856  # 32 * (2 * 4096^2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)


def test_flops_of_llama_3_1_8b() -> None:
    """Two per weight and token, the output matrix once; attention 4 * 4096 per pair of tokens, causal."""
    found = work(LLAMA_3_1_8B, llama_3_1_8b(), itemsize=2)
    pairs = 1000 * 1001 / 2
    assert found.prefill_flops(1000) == 2 * 6_979_321_856 * 1000 + 2 * 525_336_576 + 32 * 4 * 4096 * pairs


MIXTRAL_8X7B = {
    "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096, "num_experts_per_tok": 2,
    "sliding_window": None,
}  # fmt: skip


def mixtral_8x7b() -> Table:
    table = ends(vocabulary=32000, hidden=4096)
    for layer in range(32):
        table |= attention(layer, hidden=4096, q=4096, kv=1024)
        table |= {f"model.layers.{layer}.block_sparse_moe.gate.weight": of(8, 4096)}
        for expert in range(8):
            table |= mlp(f"model.layers.{layer}.block_sparse_moe.experts.{expert}", hidden=4096, inner=14336)
    return table


def test_mixtral_reads_the_experts_that_a_batch_chooses() -> None:
    """Of 8 experts with 2 chosen: 2 at batch 1, 3.5 at batch 2, nearly all at batch 16."""
    found = work(MIXTRAL_8X7B, mixtral_8x7b(), itemsize=2)
    expert = 3 * 4096 * 14336
    assert found.expert_bytes == (2.0 * expert,) * 32
    assert (found.experts, found.chosen) == (8, 2)
    assert found.distinct_experts(1) == pytest.approx(2.0)
    assert found.distinct_experts(2) == pytest.approx(3.5)
    assert found.distinct_experts(16) == pytest.approx(8 * (1 - 0.75**16))
    assert found.weight_bytes(2) == pytest.approx(found.dense_bytes + 3.5 * 2 * expert * 32)
    # 32 * (attention + gate + two experts): of 46.7 billion parameters 12.6 are active beside the two vocabularies
    assert found.active_weights == 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 8 * 4096 + 2 * expert) == 12_617_515_008


def test_fused_experts_are_the_same_experts() -> None:
    """One tensor whose first axis tells the experts apart, as gpt-oss and Llama 4 store them."""
    experts = "model.layers.0.mlp.experts"
    one = {f"{experts}.gate_up_proj": of(8, 64, 96), f"{experts}.down_proj": of(8, 48, 64)}
    config = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 64, "num_experts_per_tok": 2}
    table = ends(vocabulary=10, hidden=64) | attention(0, hidden=64, q=64, kv=32) | one
    found = work(config, table, itemsize=2)
    assert found.expert_bytes == (2.0 * (64 * 96 + 48 * 64),)
    assert (found.experts, found.chosen) == (8, 2)


GEMMA_3_1B = {
    "num_hidden_layers": 26, "num_attention_heads": 4, "hidden_size": 1152, "head_dim": 256, "sliding_window": 512,
    "sliding_window_pattern": 6,
}  # fmt: skip


def test_a_window_bounds_what_is_read() -> None:
    """Gemma 3: of 26 layers every sixth sees everything, the other 22 see 512 tokens; one key and value head of 256."""
    table = ends(vocabulary=262144, hidden=1152, tied=True)
    for layer in range(26):
        table |= attention(layer, hidden=1152, q=1024, kv=256)
    found = work(GEMMA_3_1B, table, itemsize=2)
    assert found.state_bytes(8192) == 2 * (22 * 512 * 512 + 4 * 8192 * 512)
    assert found.state_bytes(100) == 2 * 26 * 100 * 512
    assert found.output_weights == 262144 * 1152  # tied: the embedding is read as the output matrix
    assert found.dense_bytes == 2 * (262144 * 1152 + 26 * 2 * 1152 * (1024 + 256))


DEEPSEEK_V3 = {
    "num_hidden_layers": 1, "num_attention_heads": 128, "hidden_size": 7168, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512,
}  # fmt: skip


def latent(layer: int) -> Table:
    shapes = {
        "q_a_proj": (1536, 7168), "q_b_proj": (24576, 1536), "kv_a_proj_with_mqa": (576, 7168),
        "kv_b_proj": (32768, 512), "o_proj": (7168, 16384),
    }  # fmt: skip
    return {f"model.layers.{layer}.self_attn.{name}.weight": of(*shape) for name, shape in shapes.items()}


def test_mla_keeps_a_latent() -> None:
    """DeepSeek-V3: 512 + 64 numbers per token and layer, 1,152 bytes; 61 layers make the published 70 KB per token."""
    found = work(DEEPSEEK_V3, ends(vocabulary=129280, hidden=7168) | latent(0), itemsize=2)
    assert found.layers == (Layer(kept_per_token=576, score_width=128 * (128 + 64 + 128)),)
    assert 61 * found.state_bytes(1) == 70_272


def test_heads_that_guess_further_are_not_read() -> None:
    """A layer beyond the config's number of layers is for multi-token prediction."""
    table = ends(vocabulary=129280, hidden=7168) | latent(0)
    assert work(DEEPSEEK_V3, table | latent(1), itemsize=2) == work(DEEPSEEK_V3, table, itemsize=2)


def test_an_indexer_chooses_what_is_read() -> None:
    """DeepSeek-V3.2: the indexer reads a key of 128 numbers of every token, the attention 2,048 tokens."""
    config = DEEPSEEK_V3 | {"index_topk": 2048, "index_head_dim": 128, "index_n_heads": 64}
    found = work(config, ends(vocabulary=129280, hidden=7168) | latent(0), itemsize=2)
    assert found.state_bytes(100_000) == 2 * (2048 * 576 + 100_000 * 128)


def test_a_recurrent_state_is_read_and_written_whatever_the_length() -> None:
    """Mamba 2 with 24 heads of 64 and a state of 128: float32, both ways; and 3 inputs of each convolved channel."""
    config = {
        "num_hidden_layers": 1, "num_attention_heads": 12, "hidden_size": 768, "mamba_d_head": 64, "mamba_d_state": 128,
    }  # fmt: skip
    mixer = {"model.layers.0.mamba.A_log": of(24), "model.layers.0.mamba.conv1d.weight": of(1792, 1, 4)}
    found = work(config, ends(vocabulary=10, hidden=768) | mixer, itemsize=2)
    assert found.state_bytes(1) == found.state_bytes(10**6) == 2 * 4 * (24 * 64 * 128 + 1792 * 3)


def test_a_gated_delta_net_has_a_state_of_keys_by_values() -> None:
    """Qwen3-Next: 32 value heads of 128 by 128, in three of four layers."""
    config = {
        "num_hidden_layers": 1, "num_attention_heads": 16, "hidden_size": 2048, "head_dim": 256,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    }  # fmt: skip
    mixer = {"model.layers.0.linear_attn.A_log": of(32), "model.layers.0.linear_attn.conv1d.weight": of(8192, 1, 4)}
    found = work(config, ends(vocabulary=10, hidden=2048) | mixer, itemsize=2)
    assert found.layers == (Layer(state=32 * 128 * 128 + 8192 * 3),)


@pytest.mark.parametrize(
    ("name", "stored", "weight_bytes", "weights"),
    [
        ("q_proj.weight", [of(64, 64, dtype="F8_E4M3")], 4096, 4096),
        ("q_proj.qweight", [of(64, 8, dtype="I32")], 2048, 4096),
        ("q_proj.weight", [of(64, 64, dtype="F32")], 8192, 4096),
    ],
)
def test_weights_are_read_as_they_are_stored(name: str, stored: list[Tensor], weight_bytes: int, weights: int) -> None:
    """FP8 is a byte, packed int4 half of one, and floats are cast to what is served; each is one weight to multiply."""
    config = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 64, "num_key_value_heads": 2}
    layer = {f"model.layers.0.mlp.{name}": stored[0]}
    empty = work(config, ends(vocabulary=10, hidden=64), itemsize=2)
    found = work(config, ends(vocabulary=10, hidden=64) | layer, itemsize=2)
    assert found.dense_bytes - empty.dense_bytes == weight_bytes
    assert found.active_weights - empty.active_weights == weights


def test_scales_are_read_and_not_multiplied() -> None:
    """What goes with quantized weights costs bytes alone."""
    config = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 64}
    layer = {"model.layers.0.mlp.up_proj.weight_scale_inv": of(4, 4, dtype="F32")}
    found = work(config, layer, itemsize=2)
    assert (found.dense_bytes, found.active_weights) == (32, 0)


ONE_LAYER = {"num_hidden_layers": 1, "num_attention_heads": 1}


@pytest.mark.parametrize(
    ("config", "name", "sentence"),
    [
        ({}, "layers.0.mlp.up_proj", "the config has none of num_hidden_layers, n_layer, num_layers, n_layers"),
        (ONE_LAYER, "layers.0.attn.wkv", "it is not known here what layer 0 keeps, which has 'attn.wkv.weight'"),
        (ONE_LAYER, "layers.0.mlp.experts.0.up_proj", f"the config has none of {', '.join(CHOSEN)}"),
    ],
)
def test_what_is_not_known_is_said(config: dict[str, Any], name: str, sentence: str) -> None:
    """A kind of layer that nobody has worked out gives no number."""
    with pytest.raises(ValueError, match="^" + re.escape(sentence) + "$"):
        work(config, {f"model.{name}.weight": of(8, 8)}, itemsize=2)


def test_distinct_experts_of_a_dense_model() -> None:
    """None, at any batch."""
    plain = Work(
        dense_bytes=1.0, expert_bytes=(), experts=0, chosen=0, active_weights=1.0, output_weights=1.0, layers=(),
        itemsize=2,
    )  # fmt: skip
    assert plain.distinct_experts(1) == plain.distinct_experts(64) == 0.0
