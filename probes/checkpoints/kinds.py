"""What an architecture is made of, by its config. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matrix.cells import Kind

EXPERTS = re.compile(r"^(?:n(?:um)?_(?:local_|routed_)?experts|moe_num_experts)$")
"""Keys that count the experts of a layer."""
SPARSE = ("index_topk", "index_n_heads")
"""Keys of attention that chooses the tokens it looks at."""
STATE_SPACE = re.compile(r"^(?:mamba|ssm|conv_kernel$|state_size$)")
LINEAR = re.compile(r"^(?:linear_(?:num|key|value|attn)|full_attention_interval$)")


def kinds(config: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Of the text part of a config; `dense` where no layer has experts."""
    set_keys = {key for key, value in config.items() if value not in (None, False, 0)}
    layers = {str(layer) for key in ("layer_types", "layers_block_type") for layer in config.get(key) or ()}
    moe = any(EXPERTS.match(key) and (config[key] or 0) != 1 for key in set_keys)
    found: dict[Kind, bool] = {
        "moe": moe,
        "dense": not moe,
        "sliding-window": any("sliding" in layer for layer in layers) or _windowed(config),
        "mla": "kv_lora_rank" in set_keys,
        "sparse-attention": any(key in set_keys for key in SPARSE),
        "linear-attention": any("linear" in layer for layer in layers) or any(map(LINEAR.match, set_keys)),
        "state-space": any("mamba" in layer for layer in layers) or any(map(STATE_SPACE.match, set_keys)),
    }
    return tuple(kind for kind, holds in found.items() if holds)


def _windowed(config: Mapping[str, Any]) -> bool:
    return bool(config.get("sliding_window")) and config.get("use_sliding_window", True) is not False
