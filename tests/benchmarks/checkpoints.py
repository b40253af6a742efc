"""Checkpoints of any size with random weights, written in bfloat16 as sharded safetensors files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from matrix.cells import Record

SHARD_BYTES = 2 * 10**9
BLOCK = 1 << 24
"""Random numbers are drawn once and written again and again: nobody compares layers."""

SPREAD = 0.02
VOCABULARY = 8192
HEAD = 128


class Shape(Record, frozen=True, kw_only=True):
    """Sizes of a Llama, or with experts of a Qwen3-MoE."""

    name: str
    hidden: int
    intermediate: int
    """Of each expert, where there are experts."""
    layers: int
    experts: int = 0

    @property
    def layer_parameters(self) -> int:
        """In one layer, norms left out."""
        each = 3 * self.hidden * self.intermediate
        return 4 * self.hidden**2 + (each * self.experts + self.hidden * self.experts if self.experts else each)

    @property
    def nbytes(self) -> int:
        """In bfloat16."""
        return 2 * (self.layers * self.layer_parameters + 2 * VOCABULARY * self.hidden)


def write(folder: Path, shape: Shape) -> None:
    """Write the checkpoint into an empty folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(_config(shape)))
    block = (np.random.default_rng(0).normal(0, SPREAD, BLOCK).astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    shards = list(_shards(shape))
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        with (folder / name).open("wb") as stream:
            _write_shard(stream, tensors, block)
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _config(shape: Shape) -> dict[str, object]:
    heads = shape.hidden // HEAD
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    if shape.experts:
        config |= {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": shape.experts}
        config |= {"moe_intermediate_size": shape.intermediate, "num_experts_per_tok": 4}
    return config


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = shape.hidden, shape.intermediate
    feed_forward = {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}
    yield "model.embed_tokens.weight", (VOCABULARY, hidden)
    for number in range(shape.layers):
        layer = f"model.layers.{number}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{norm}.weight", (hidden,)
        for matrix in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{layer}.self_attn.{matrix}.weight", (hidden, hidden)
        if shape.experts:
            yield f"{layer}.self_attn.q_norm.weight", (HEAD,)
            yield f"{layer}.self_attn.k_norm.weight", (HEAD,)
            yield f"{layer}.mlp.gate.weight", (shape.experts, hidden)
        for place in [f"experts.{expert}." for expert in range(shape.experts)] or [""]:
            for matrix, size in feed_forward.items():
                yield f"{layer}.mlp.{place}{matrix}.weight", size
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (VOCABULARY, hidden)


def _shards(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    for name, size in _tensors(shape):
        if sum(2 * math.prod(one) for one in shard.values()) + 2 * math.prod(size) > SHARD_BYTES:
            yield shard
            shard = {}
        shard[name] = size
    yield shard


def _write_shard(
    stream: BinaryIO, tensors: dict[str, tuple[int, ...]], block: np.ndarray[tuple[int], np.dtype[np.uint16]]
) -> None:
    header, start = {}, 0
    for name, size in tensors.items():
        end = start + 2 * math.prod(size)
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    stream.write(len(text).to_bytes(8, "little") + text)
    ones = np.full(1 << 16, 0x3F80, "<u2")
    for size in tensors.values():
        left = math.prod(size)
        source = ones if len(size) == 1 else block
        while left > 0:
            stream.write(source[:left].tobytes())
            left -= len(source)
