"""The ladder: the model itself with visible roundings, each through the plain bfloat16 path.

What they measure is the scale on which a reader places an engine, and int8 is what FAIL is defined by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch

INT8_STEPS = 127
FP8 = torch.float8_e4m3fn
FP8_LARGEST = 448.0
INT4_STEPS, INT4_GROUP = 7, 32
ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})
"""Modules that choose experts, by the names that transformers gives them; published schemes leave them as they are."""


class Rung(NamedTuple):
    """One rounding: its name, and what it does to a model in memory."""

    name: str
    apply: Callable[[Any], int]
    """How many parts it rounded; 0: the model has none of that kind, and the rung would equal the plain path."""


def int8_rows(weight: Any) -> Any:
    """Round to nearest, 127 steps to each side, one scale an output row."""
    scale = weight.abs().amax(-1, keepdim=True).clamp(min=1e-12) / INT8_STEPS
    return (weight / scale).round() * scale


def fp8_tensor(weight: Any) -> Any:
    """float8 e4m3, one scale a tensor."""
    scale = weight.abs().max().clamp(min=1e-12) / FP8_LARGEST
    return (weight / scale).to(FP8).float() * scale


def int4_groups(weight: Any) -> Any:
    """Round to nearest in groups of 32 inputs, 7 steps to each side; a row that no group divides is one group."""
    width = weight.shape[-1]
    groups = weight.reshape(-1, INT4_GROUP if width % INT4_GROUP == 0 else width)
    scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-12) / INT4_STEPS
    return ((groups / scale).round() * scale).reshape(weight.shape)


def round_weights(rounded: Callable[[Any], Any], model: Any) -> int:
    """Put rounded numbers into every matrix that quantization is applied to."""
    found = list(matrices(model))
    for weight in found:
        weight.copy_(rounded(weight.float()))
    return len(found)


def fp8_cache(model: Any) -> int:
    """Keys, before their rotation, and values as an fp8 cache without scales keeps them.

    Of layers that project to keys and values by modules of their own. Recurrent and latent ones have no such cache, and
    those of one fused projection (Phi 3, GPT-NeoX) are not taken apart.
    """

    def rounded(_: Any, __: Any, output: Any) -> Any:
        return output.to(FP8).to(output.dtype)

    found = [module for name, module in model.named_modules() if name.endswith((".k_proj", ".v_proj"))]
    for module in found:
        module.register_forward_hook(rounded)
    return len(found)


def matrices(model: Any) -> Iterator[Any]:
    """The layers' linear weights and stacks of experts, inputs last; no embedding, output matrix, norm or router."""
    head = model.get_output_embeddings()
    for name, parameter in model.named_parameters():
        path, _, leaf = name.rpartition(".")
        places, owner = path.split("."), model.get_submodule(path)
        in_a_layer = any(place.isdigit() for place in places) and owner is not head
        if not in_a_layer or ROUTERS.intersection(places):
            continue
        if type(owner) is torch.nn.Linear and leaf == "weight":
            yield parameter
        elif parameter.ndim == 3 and "expert" in name:
            yield parameter.transpose(1, 2) if getattr(owner, "is_transposed", False) else parameter


RUNGS = (
    Rung("ladder-fp8-kv", fp8_cache),
    Rung("ladder-int8", partial(round_weights, int8_rows)),
    Rung("ladder-fp8", partial(round_weights, fp8_tensor)),
    Rung("ladder-int4", partial(round_weights, int4_groups)),
)
