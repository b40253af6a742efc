"""How many parameters a checkpoint has, and how many of them a token meets, where that can be told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

FLOATS = ("BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2")
"""Types of safetensors in which an element is a parameter; others hold several to an element, or scales."""
MOST_OTHERS = 0.01
"""Elements of other types, as a share: masks and tables of positions."""
LARGEST = 10**14
"""No disk holds so many."""

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "moe_topk")
DENSE_FIRST = ("first_k_dense_replace", "num_dense_layers")
UNTOLD = (
    "num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers", "moe_latent_size", "layers_block_type",
    "hybrid_override_pattern", "attn_layer_period", "expert_layer_period", "interleave_moe_layer_step",
    "mlp_only_layers", "num_hash_layers",
)  # fmt: skip
"""Keys that make it another sum, where they are set: layers for more tokens, layers without experts."""
PER_LAYER = "hidden_size_per_layer_input"
"""Set where layers have embeddings of their own, of which a token meets one row."""
STEPS = ("decoder_sparse_step", "moe_layer_freq", "moe_layer_interval")
MATRICES = 3
"""Of a gated expert."""


def total(elements: Mapping[str, int]) -> int | None:
    """Of the elements by type; None where most of them are no parameters."""
    floats = sum(count for dtype, count in elements.items() if dtype in FLOATS)
    others = sum(elements.values()) - floats
    return floats if 0 < floats <= LARGEST and others <= MOST_OTHERS * floats else None


def active(text: Mapping[str, Any], whole: int | None, kinds: Collection[str]) -> int | None:
    """Of the text part of a config; None where it does not say enough."""
    if whole is None or text.get(PER_LAYER):
        return None
    if "moe" not in kinds:
        return whole
    experts, chosen, width, hidden = (
        _number(text, *names) for names in (EXPERTS, CHOSEN, ("moe_intermediate_size",), ("hidden_size",))
    )
    layers = _layers(text)
    if not (experts and chosen and width and hidden and layers) or chosen > experts:
        return None
    routed = layers * experts * MATRICES * hidden * width
    return whole - routed * (experts - chosen) // experts if whole < 2 * routed <= 2 * whole else None


def _layers(text: Mapping[str, Any]) -> int | None:
    """Layers with gated experts; None where the config does not say that all but the first ones have the same."""
    if any(text.get(key) for key in UNTOLD) or any(text.get(key, 1) != 1 for key in STEPS):
        return None
    if text.get("hidden_act") != "silu":
        return None
    every = _number(text, "num_hidden_layers")
    return every - (_number(text, *DENSE_FIRST) or 0) if every else None


def _number(text: Mapping[str, Any], *names: str) -> int | None:
    found = next((text[name] for name in names if text.get(name) is not None), None)
    return found if type(found) is int and found > 0 else None
