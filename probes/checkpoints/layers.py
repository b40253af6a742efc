"""Which layers a tiny model has: as many of the first ones as show every kind of layer that the published model has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.checkpoints.sizes import Sizes

LEAST, MOST = 4, 16

FROM_ZERO = ("attn_layer_indices", "full_attn_idxs", "mlp_only_layers", "attn_layer_idx")
FROM_ONE = ("kda_layers", "full_attn_layers")
PERIODS = (
    ("full_attention_interval", None),
    ("sliding_window_pattern", None),
    ("_sliding_window_pattern", None),
    ("global_attn_every_n_layers", None),
    ("no_rope_layer_interval", None),
    ("interleave_moe_layer_step", None),
    ("decoder_sparse_step", None),
    ("moe_layer_freq", None),
    ("moe_layer_interval", None),
    ("index_topk_freq", "index_skip_topk_offset"),
    ("attn_layer_period", "attn_layer_offset"),
    ("expert_layer_period", "expert_layer_offset"),
)
FIRST = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "num_hash_layers")
PATTERNS = ("hybrid_override_pattern",)
MEDIA_LAYERS = 2


CLASS_DEFAULTS: dict[str, dict[str, int]] = {
    "gemma3_text": {"sliding_window_pattern": 6},
    "llama4_text": {"no_rope_layer_interval": 4},
}
"""Periods that a family's published files leave to the class, by the model type of the text part."""

TELLING_COUNTS = {"exaone4": (64,), "gemma3_text": (62,)}
"""Numbers of layers by which llama.cpp knows a model, by model type; with fewer it would be taken for another one."""


def count(text: Mapping[str, Any]) -> int:
    """Layers of the published model."""
    named = next((text[name] for name in ("num_hidden_layers", "n_layer", "n_layers") if text.get(name)), None)
    listed = next((len(text[name]) for name in ("layers_block_type", *PATTERNS) if text.get(name)), None)
    return int(named or listed or LEAST)


def cover(text: Mapping[str, Any]) -> tuple[int, int]:
    """The first n layers that show every kind, and how many more at the end share keys and values with them."""
    kind = text.get("model_type", "")
    text = {**CLASS_DEFAULTS.get(kind, {}), **text}
    total, shared = count(text), int(text.get("num_kv_shared_layers") or 0)
    if total in TELLING_COUNTS.get(kind, ()):
        return total, 0
    kinds = [_kind(text, place, total) for place in range(total)]
    own = kinds[: total - shared] if shared else kinds
    first = min(max(own.index(kind) for kind in own) + 1, MOST)
    if shared:
        # A layer of each kind that keeps keys and values, and one of each that takes them.
        return 2 * first, first
    # One more than the last new kind: what comes after it must meet what it left behind.
    return min(max(first + 1, LEAST), total), 0


def _kind(text: Mapping[str, Any], place: int, total: int) -> tuple[Any, ...]:
    """What makes layer `place` different from others, by everything in the config that numbers layers."""
    parts: list[Any] = []
    for value in _with_nested(text):
        if isinstance(value, list) and len(value) in (total, total + 1) and not isinstance(value[0], float):
            parts.append(str(value[place]))
    parts += [str(text[name])[place : place + 1] for name in PATTERNS if isinstance(text.get(name), str)]
    parts += [place in (text.get(name) or ()) for name in FROM_ZERO]
    nested = text.get("linear_attn_config") or {}
    parts += [place + 1 in (nested.get(name) or ()) for name in FROM_ONE]
    parts += [place < text[name] for name in FIRST if isinstance(text.get(name), int)]
    if isinstance(text.get("sliding_window_pattern"), str):
        parts.append(place % len(text["sliding_window_pattern"]) == len(text["sliding_window_pattern"]) - 1)
    for name, offset in PERIODS:
        period = text.get(name)
        if isinstance(period, int) and not isinstance(period, bool) and period > 1:
            own = text.get(offset) if offset else None
            parts.append(place % period == (period - 1 if own is None else own % period))
    return tuple(parts)


def _with_nested(text: Mapping[str, Any]) -> list[Any]:
    nested = [inner for value in text.values() if isinstance(value, Mapping) for inner in value.values()]
    return [*text.values(), *nested]


def numbers_layers(key: str) -> bool:
    """Whether a list's entries are numbers of layers or kinds of layer, and not sizes."""
    return key in (*FROM_ZERO, *FROM_ONE) or (
        bool(re.search(r"layer|freq|pattern|type|index", key)) and ("heads" not in key)
    )


def per_layer(key: str, value: list[Any], sizes: Sizes) -> list[Any]:
    """A list cut to the layers that are left."""
    total = count(sizes.published)
    if key in FROM_ZERO:
        return [place for place in value if place < sizes.layers]
    if key in FROM_ONE:
        return [place for place in value if place <= sizes.layers]
    if len(value) in (total, total + 1) and total > sizes.layers:
        if sizes.shared_layers:
            # The shared layers repeat the kinds of those before them.
            return value[: sizes.layers - sizes.shared_layers] * 2
        kept = value[: sizes.layers + len(value) - total]
        # Gemma 4's class makes its last layer a full one, whatever a config says of it.
        return [*kept[:-1], value[-1]] if sizes.published.get("model_type") == "gemma4_text" else kept
    return value


def pattern(key: str, value: Any, sizes: Sizes) -> Any:
    """A string with a letter a layer, cut likewise."""
    return value[: sizes.layers] if key in PATTERNS and isinstance(value, str) else value


def media_list(key: str, value: Any) -> Any:
    """A tower's list, cut to its two layers."""
    if isinstance(value, list) and re.search(r"layer_types|window_attn_types", key):
        return value[:MEDIA_LAYERS]
    if isinstance(value, list) and re.search(r"indexe?s$|block_indexes", key):
        return [place for place in value if place < MEDIA_LAYERS]
    return value
