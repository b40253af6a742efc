"""What one decode step and one prefill must move and multiply at the least. Pure.

A decode step at batch b reads every dense weight once, the distinct experts that b tokens choose, and each sequence's
state: of full attention the keys and values of its context, of a window those inside it, of MLA the latents, of
recurrent layers their state, which is written too. Embeddings are looked up, which costs nothing; the output matrix is
read, and is the embedding where the two are tied.

E_b = E * (1 - (1 - k/E)^b) distinct experts, of E with k chosen per token by tokens that choose independently: a real
router's tokens share experts, so that real steps read fewer, and MBU is then too large.

Prefill of n tokens multiplies 2 * N * n, N being the active weights but for the output matrix, which only the last
token meets, and in each attention layer 2 * heads * (d_qk + d_v) * (pairs of tokens that see each other).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matrix.cells import Record
from probes.roofline.layers import OF_LAYER, Layer, layers
from probes.roofline.tensors import Tensor, weights_in

OTHER_PARTS = re.compile(
    r"(^|\.)(vision|visual|audio|speech|talker|code2wav|mtp|nextn|multi_modal|mm_projector|embed_vision|embed_audio)"
)
"""Tensors that no plain step of decoding text meets: other media, and heads that guess more tokens."""

LOOKUP = re.compile(r"(^|\.)(embed_tokens(_per_layer)?|wte|wpe|word_embeddings|embeddings?|embed_in)\.weight$")
OUTPUT = re.compile(r"(^|\.)(lm_head|output|embed_out|output_layer)\.\w*weight\w*$")
EXPERTS = re.compile(r"^(?P<layer>.*\.experts)\.(?:(?P<which>\d+)\.)?")
"""One tensor per expert, or one of all experts whose first axis tells them apart."""

CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k", "moe_top_k")
"""Keys that say how many experts a token goes through, by family."""


class Work(Record, frozen=True, kw_only=True):
    """What a model needs; bytes in the dtypes that it is served in."""

    dense_bytes: float
    """Read at every step, the output matrix among them."""
    expert_bytes: tuple[float, ...]
    """Of one routed expert, for each layer that has them."""
    experts: int
    """In each of these layers."""
    chosen: int
    """Experts per token."""
    active_weights: float
    """That a token is multiplied with, but for the output matrix."""
    output_weights: float
    layers: tuple[Layer, ...]
    itemsize: int
    """Bytes of a number of the KV cache, as of a weight that is not quantized."""
    state_itemsize: int = 4
    """Bytes of a number of a recurrent state, which engines keep in float32."""

    def distinct_experts(self, batch: int) -> float:
        """Of one layer that a batch is expected to read."""
        if not self.experts:
            return 0.0
        return self.experts * (1.0 - (1.0 - self.chosen / self.experts) ** batch)

    def weight_bytes(self, batch: int) -> float:
        """Read by one decode step."""
        return self.dense_bytes + self.distinct_experts(batch) * sum(self.expert_bytes)

    def state_bytes(self, context: int) -> float:
        """Moved by one decode step of one sequence that is so many tokens long."""
        return sum(self._state(layer, context) for layer in self.layers)

    def _state(self, layer: Layer, context: int) -> float:
        seen = context if layer.window is None else min(context, layer.window)
        return seen * layer.kept_per_token * self.itemsize + 2 * layer.state * self.state_itemsize

    def step_bytes(self, batch: int, context: int) -> float:
        """Moved by one decode step of `batch` sequences."""
        return self.weight_bytes(batch) + batch * self.state_bytes(context)

    def prefill_flops(self, tokens: int) -> float:
        """Floating-point operations of one prompt, a multiplication and an addition being two."""
        pairs = sum(2.0 * layer.score_width * _pairs(tokens, layer.window) for layer in self.layers)
        return 2.0 * self.active_weights * tokens + 2.0 * self.output_weights + pairs


def _pairs(tokens: int, window: int | None) -> float:
    """Pairs of a token and one that it sees, itself included."""
    if window is None or window >= tokens:
        return tokens * (tokens + 1) / 2
    return window * (window + 1) / 2 + (tokens - window) * window


def work(config: Mapping[str, Any], table: Mapping[str, Tensor], itemsize: int) -> Work:
    """What a checkpoint needs, from its config.json and its tensors, served in floats of `itemsize` bytes.

    Raises ValueError where a layer or a number of experts is of no kind that is known here.
    """
    text = text_config(config)
    used = {name: tensor for name, tensor in table.items() if not _left_out(name, text)}
    experts = {name: tensor for name, tensor in used.items() if EXPERTS.match(name)}
    outer = [name for name in used if name not in experts and not OF_LAYER.search(name)]
    lookups = {name for name in outer if LOOKUP.search(name)}
    output = {name for name in outer if OUTPUT.search(name)} or {n for n in lookups if "per_layer" not in n}
    read = {name: t for name, t in used.items() if name not in experts and (name not in lookups or name in output)}
    number = _number_of_experts(experts)
    chosen = _chosen(text) if number else 0
    return Work(
        dense_bytes=sum(tensor.bytes_as(itemsize) for tensor in read.values()),
        expert_bytes=tuple(size / number for size in _bytes_by_layer(experts, itemsize)),
        experts=number,
        chosen=chosen,
        active_weights=_multiplied({name: t for name, t in read.items() if name not in output})
        + (_multiplied(experts) * chosen / number if number else 0),
        output_weights=_multiplied({name: used[name] for name in output}),
        layers=tuple(layers(text, used)),
        itemsize=itemsize,
    )


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model."""
    for key in ("thinker_config", "text_config", "llm_config", "language_config"):
        if isinstance(config.get(key), dict):
            return text_config(config[key])
    return config


def _left_out(name: str, text: Mapping[str, Any]) -> bool:
    layer = OF_LAYER.search(name)
    beyond = layer is not None and int(layer[1]) >= _layer_count(text)
    return beyond or OTHER_PARTS.search(name) is not None


def _layer_count(text: Mapping[str, Any]) -> int:
    return int(_first(text, "num_hidden_layers", "n_layer", "num_layers", "n_layers"))


def _first(text: Mapping[str, Any], *keys: str) -> Any:
    found = next((text[key] for key in keys if text.get(key) is not None), None)
    if found is None:
        raise ValueError(f"the config has none of {', '.join(keys)}")
    return found


def _number_of_experts(experts: Mapping[str, Tensor]) -> int:
    found: dict[str, set[int]] = {}
    for name, tensor in experts.items():
        match = EXPERTS.match(name)
        assert match is not None
        which = range(tensor.shape[0]) if match["which"] is None else [int(match["which"])]
        found.setdefault(match["layer"], set()).update(which)
    numbers = {len(which) for which in found.values()}
    if len(numbers) > 1:
        raise ValueError(f"layers have different numbers of experts: {sorted(numbers)}")
    return numbers.pop() if numbers else 0


def _chosen(text: Mapping[str, Any]) -> int:
    chosen = _first(text, *CHOSEN)
    if not isinstance(chosen, int):
        raise ValueError(f"layers choose different numbers of experts: {chosen}")
    return chosen


def _bytes_by_layer(experts: Mapping[str, Tensor], itemsize: int) -> list[float]:
    found: dict[str, float] = {}
    for name, tensor in experts.items():
        match = EXPERTS.match(name)
        assert match is not None
        found[match["layer"]] = found.get(match["layer"], 0.0) + tensor.bytes_as(itemsize)
    return list(found.values())


def _multiplied(tensors: Mapping[str, Tensor]) -> float:
    """Weights of matrices and convolutions; norms and biases cost next to nothing."""
    return sum(weights_in(name, tensor) for name, tensor in tensors.items() if len(tensor.shape) > 1)
