"""Scale drawn weights until attention chooses and the output is peaked, in steps coarse enough to be repeatable.

A gain is a power of the square root of two: what another machine rounds differently does not change it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

STEP = math.sqrt(2)
STREAM = 1 / 16
"""Standard deviation of the residual stream at the first layer: small, as embeddings of real models are. The epsilon of
a norm shows there, and where the embedding is the output matrix too, a larger one would make tokens predict themselves.
"""
ATTENDED = (3.0, 10.0)
"""Keys that a late query attends to, as exp of its entropy: neither one nor all."""
ATTENTION_ROUNDS = 12
LOGIT_SPREAD = 3.0
"""Standard deviation of the logits of plain tokens, nats."""
QUERY_NORMS = ("q_norm", "q_layernorm", "query_layernorm", "q_a_norm", "q_a_layernorm")
QUERIES = ("q_b_proj", "q_proj", "wq_b", "wq", "qkv_proj", "query_key_value", "qkv", "q")


class Found(dict[str, float]):
    """Measurements by name, as the checkpoint's record keeps them."""


def calibrate(model: nn.Module, ids: torch.Tensor, defaults: Mapping[str, torch.Tensor]) -> Found:
    """Set the scales of embedding, attention and output; returns what came of it."""
    found = Found()
    _embedding(model, ids, found)
    _attention(model, ids, defaults, found)
    _output(model, ids, found)
    return found


def logits(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """[S, N, vocabulary] of a plain forward pass."""
    result: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return result


def _nearest_step(factor: float) -> float:
    return float(STEP ** round(math.log(factor) / math.log(STEP)))


def _embedding(model: nn.Module, ids: torch.Tensor, found: Found) -> None:
    """The residual stream begins no larger than what layers add to it."""
    begins: list[float] = []
    layer = next(module for name, module in model.named_modules() if _is_first_layer(name))

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        begins.append(float(hidden.std()))

    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    logits(model, ids)
    handle.remove()
    found["embedding gain"] = gain = _nearest_step(STREAM / begins[0])
    model.get_input_embeddings().weight.mul_(gain)


def _is_first_layer(name: str) -> bool:
    words = name.split(".")
    return len(words) > 1 and words[-1] == "0" and words[-2] in ("layers", "h", "blocks") and "vi" not in name[:16]


def _attention(model: nn.Module, ids: torch.Tensor, defaults: Mapping[str, torch.Tensor], found: Found) -> None:
    for _ in range(ATTENTION_ROUNDS):
        with attended(model) as keys:
            logits(model, ids)
        moved = False
        for name, (module, count) in keys.items():
            gain = STEP if count > ATTENDED[1] else 1 / STEP if count < ATTENDED[0] else 1.0
            moved |= gain != 1.0 and _scale_queries(name, module, gain, defaults)
        if not moved:
            break
    found.update({f"{name} attends to": round(count, 1) for name, (_, count) in keys.items()})


@contextmanager
def attended(model: nn.Module) -> Iterator[dict[str, tuple[nn.Module, float]]]:
    """Meanwhile, every attention layer with the number of keys that the later half of queries attend to."""
    keys: dict[str, tuple[nn.Module, float]] = {}
    handles = []

    def hook(name: str, module: nn.Module, output: Any) -> None:
        parts = output[1:] if isinstance(output, tuple) else ()
        weights = next((part for part in parts if isinstance(part, torch.Tensor) and part.ndim == 4), None)
        if weights is not None:
            late = weights[:, :, weights.shape[2] // 2 :]
            entropy = -(late * late.clamp_min(1e-30).log()).sum(-1)
            keys[name] = module, float(entropy.exp().mean())

    for name, module in model.named_modules():
        if type(module).__name__.endswith("Attention") and "vi" not in name[:16]:
            handles.append(module.register_forward_hook(lambda m, _, out, name=name: hook(name, m, out)))
    try:
        yield keys
    finally:
        for handle in handles:
            handle.remove()


def _scale_queries(name: str, module: nn.Module, gain: float, defaults: Mapping[str, torch.Tensor]) -> bool:
    """Scale what makes the queries; False where nothing by a known name does."""
    for part in (*QUERY_NORMS, *QUERIES):
        child = getattr(module, part, None)
        weight = getattr(child, "weight", None)
        if weight is None:
            continue
        # A norm that multiplies by 1 + weight keeps a default of zero.
        default = defaults[f"{name}.{part}.weight"]
        one = 1.0 if part in QUERY_NORMS and not default.any() else 0.0
        weight.copy_(gain * (weight + one) - one)
        bias = getattr(child, "bias", None)
        if part not in QUERY_NORMS and bias is not None:
            bias.mul_(gain)
        return True
    return False


def _output(model: nn.Module, ids: torch.Tensor, found: Found) -> None:
    """Logits of the wanted spread: by the output matrix, or by the last norm where that is the embedding."""
    weight = _last_norm(model) if _tied(model) else model.get_output_embeddings().weight
    total = 1.0
    for _ in range(8):
        spread = float(logits(model, ids)[..., 16:].std())
        gain = _nearest_step(LOGIT_SPREAD / spread)
        if gain == 1.0:
            break
        weight.mul_(gain)
        total *= gain
    found["output gain"], found["logit spread"] = total, round(spread, 2)


def _tied(model: nn.Module) -> bool:
    head = model.get_output_embeddings()
    return head is None or head.weight is model.get_input_embeddings().weight


def _last_norm(model: nn.Module) -> torch.Tensor:
    """The weight of the norm before the output matrix."""
    names = ("norm", "final_layernorm", "norm_f", "final_layer_norm", "embedding_norm", "ln_f")
    for _, module in model.named_modules():
        for name in names:
            weight = getattr(getattr(module, name, None), "weight", None)
            if hasattr(module, "layers") and isinstance(weight, torch.Tensor):
                return weight
    raise ValueError("no norm before the output matrix is found by name")
