"""What each layer of a model keeps of a sequence, and how much its attention multiplies. Pure.

Read from the shapes of its tensors where they say it, for configs of different families name the same size differently
and some sizes differ from layer to layer; from the config where weights are packed or fused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from matrix.cells import Record
from probes.roofline.tensors import Tensor

OF_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.+)$")
BY_CONFIG = re.compile(r"((qkv_proj|query_key_value|wqkv|c_attn)\.\w*weight\w*|k_proj\.(qweight|weight_packed))$", re.I)
"""Projections whose shapes do not say how many heads there are: fused or packed ones."""
ATTENTION = re.compile(r"attn|attention")
CONVOLUTION = re.compile(r"conv(1d)?\.weight$")

Tensors = Mapping[str, Tensor]
Config = Mapping[str, Any]


class Layer(Record, frozen=True, kw_only=True):
    """What one layer keeps of a sequence; a layer that mixes in two ways is two of these."""

    kept_per_token: int = 0
    """Numbers kept of each token in sight: keys and values, or the latent and its rotated part."""
    score_width: int = 0
    """Heads times (d_qk + d_v): multiplications per pair of tokens."""
    window: int | None = None
    """Tokens in sight; None: all."""
    state: int = 0
    """Numbers of a recurrent state, whatever the length."""


def layers(text: Config, table: Tensors) -> Iterator[Layer]:
    """Every layer in order; raises ValueError at one of no kind that is known here."""
    members: dict[int, dict[str, Tensor]] = {}
    for name, tensor in table.items():
        if (match := OF_LAYER.search(name)) is not None:
            members.setdefault(int(match[1]), {})[match[2]] = tensor
    earlier: dict[int | None, Layer] = {}
    for index in sorted(members):
        found = [*_attention(text, members[index], index, earlier), *_recurrent(text, members[index])]
        if not found and (attention := next(filter(ATTENTION.search, members[index]), None)):
            raise ValueError(f"it is not known here what layer {index} keeps, which has {attention!r}")
        yield from found


def _attention(text: Config, tensors: Tensors, index: int, earlier: dict[int | None, Layer]) -> Iterator[Layer]:
    window = window_of(text, index)
    if (latent := _weight(tensors, "kv_a_proj_with_mqa")) is not None:
        yield from _latent(text, latent)
    elif (keys := _weight(tensors, "k_proj")) is not None and not _is_recurrent(tensors):
        values = _weight(tensors, "v_proj") or keys  # one projection may serve as both, and both are kept
        kept = keys.shape[0] + values.shape[0]
        earlier[window] = Layer(kept_per_token=kept, score_width=_score_width(text, tensors), window=window)
        yield earlier[window]
    elif any(map(BY_CONFIG.search, tensors)):
        yield Layer(kept_per_token=2 * _kv_heads(text) * _head_dim(text), score_width=_by_config(text), window=window)
    elif _weight(tensors, "q_proj") is not None and window in earlier:
        yield earlier[window]  # reads the keys and values of an earlier layer of its kind


def _latent(text: Config, latent: Tensor) -> Iterator[Layer]:
    """MLA (DeepSeek-V2, arXiv 2405.04434); with an indexer, DeepSeek-V3.2's sparse attention on top of it."""
    heads = int(text["num_attention_heads"])
    width = int(text["qk_nope_head_dim"]) + int(text["qk_rope_head_dim"]) + int(text["v_head_dim"])
    chosen = text.get("index_topk")
    yield Layer(kept_per_token=latent.shape[0], score_width=heads * width, window=chosen)
    if chosen is not None:
        size = int(text["index_head_dim"])
        yield Layer(kept_per_token=size, score_width=int(text["index_n_heads"]) * size)


def _weight(tensors: Tensors, name: str) -> Tensor | None:
    return next((tensor for found, tensor in tensors.items() if found.endswith(f"{name}.weight")), None)


def _score_width(text: Config, tensors: Tensors) -> int:
    """The output projection reads heads * d_v numbers, and d_qk is d_v but for MLA."""
    out = _weight(tensors, "o_proj") or _weight(tensors, "out_proj")
    return 2 * out.shape[1] if out is not None else _by_config(text)


def _by_config(text: Config) -> int:
    return 2 * int(text.get("num_attention_heads") or text["n_head"]) * _head_dim(text)


def _kv_heads(text: Config) -> int:
    return int(text.get("num_key_value_heads") or text.get("num_attention_heads") or text["n_head"])


def _head_dim(text: Config) -> int:
    if text.get("head_dim"):
        return int(text["head_dim"])
    heads = int(text.get("num_attention_heads") or text["n_head"])
    return int(text.get("hidden_size") or text["n_embd"]) // heads


def window_of(text: Config, index: int) -> int | None:
    """Tokens that a layer's attention sees; None: all."""
    types = text.get("layer_types")
    if types is not None and index < len(types):
        if types[index] == "chunked_attention":
            return text.get("attention_chunk_size")
        return text.get("sliding_window") if types[index] == "sliding_attention" else None
    if text.get("attention_chunk_size"):  # Llama 4: layers with RoPE see their chunk alone
        has_rope = text.get("no_rope_layers") or [(index + 1) % 4 for index in range(index + 1)]
        return text["attention_chunk_size"] if has_rope[index] else None
    if text.get("use_sliding_window") is False or not text.get("sliding_window"):
        return None
    return text["sliding_window"] if _slides(text, index) else None


def _slides(text: Config, index: int) -> bool:
    pattern = text.get("sliding_window_pattern") or text.get("_sliding_window_pattern")
    if isinstance(pattern, int):
        return (index + 1) % pattern != 0
    if text.get("model_type") == "gemma2":
        return index % 2 == 0
    if text.get("use_sliding_window"):
        return index >= int(text.get("max_window_layers", 0))
    return True


def _is_recurrent(tensors: Tensors) -> bool:
    """Linear attention has projections of these names too."""
    return any(name.endswith("A_log") and "mamba" not in name for name in tensors)


def _recurrent(text: Config, tensors: Tensors) -> Iterator[Layer]:
    state = sum(_convolved(tensor) for name, tensor in tensors.items() if CONVOLUTION.search(name))
    decays = next(((name, tensor) for name, tensor in tensors.items() if name.endswith("A_log")), None)
    if decays is not None:
        state += _scanned(text, *decays)
    if state:
        yield Layer(state=state)


def _convolved(weight: Tensor) -> int:
    """Inputs that a causal convolution over k tokens keeps, of shape [channels, 1, k]: the last k - 1."""
    return math.prod(weight.shape[:-1]) * (weight.shape[-1] - 1)


def _scanned(text: Config, name: str, decay: Tensor) -> int:
    """Numbers of the state itself, by the shape of its decay: [inner, state] in Mamba, one per head elsewhere."""
    if len(decay.shape) == 2:
        return decay.stored
    if "linear_attn_config" in text:  # Kimi's delta attention
        return decay.stored * int(text["linear_attn_config"]["head_dim"]) ** 2
    if "linear_key_head_dim" in text:  # gated delta net
        return decay.stored * int(text["linear_key_head_dim"]) * int(text["linear_value_head_dim"])
    heads = ("mamba_head_dim", "mamba_d_head", "head_dim")
    states = ("ssm_state_size", "mamba_d_state", "mamba_state_dim", "state_size")
    found = [next((int(text[key]) for key in keys if isinstance(text.get(key), int)), None) for keys in (heads, states)]
    if None in found:
        raise ValueError(f"the config does not say how large the state of {name!r} is")
    return decay.stored * math.prod(size for size in found if size is not None)
