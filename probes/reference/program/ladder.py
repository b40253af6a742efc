"""The ladder: the model itself with visible roundings, each through the plain bfloat16 path.

What they measure is the scale on which a reader places an engine, and int8 is what FAIL is defined by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from .ways import ROW_PARALLEL

INT8_STEPS = 127
FP8 = torch.float8_e4m3fn
FP8_LARGEST = 448.0
INT4_STEPS, INT4_GROUP = 7, 32


class Rung(NamedTuple):
    """One rounding: its name, and what it does to a model in memory."""

    name: str
    apply: Callable[[Any], None]


def int8_rows(model: Any) -> None:
    """Round to nearest, 127 steps to each side, one scale an output row."""
    for weight in matrices(model):
        scale = weight.float().abs().amax(-1, keepdim=True).clamp(min=1e-12) / INT8_STEPS
        weight.copy_((weight.float() / scale).round() * scale)


def fp8_tensor(model: Any) -> None:
    """float8 e4m3, one scale a tensor."""
    for weight in matrices(model):
        scale = weight.float().abs().max().clamp(min=1e-12) / FP8_LARGEST
        weight.copy_((weight.float() / scale).to(FP8).float() * scale)


def int4_groups(model: Any) -> None:
    """Round to nearest in groups of 32 inputs, 7 steps to each side; a row that no group divides is one group."""
    for weight in matrices(model):
        width = weight.shape[-1]
        groups = weight.float().reshape(-1, INT4_GROUP if width % INT4_GROUP == 0 else width)
        scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-12) / INT4_STEPS
        weight.copy_(((groups / scale).round() * scale).reshape(weight.shape))


def fp8_cache(model: Any) -> None:
    """Keys, before their rotation, and values as an fp8 cache without scales keeps them.

    Of layers that project to keys and values by themselves; recurrent and latent ones have no such cache, and where no
    layer has one the rung equals the plain path.
    """

    def rounded(_: Any, __: Any, output: Any) -> Any:
        return output.to(FP8).to(output.dtype)

    for name, module in model.named_modules():
        if name.endswith((".k_proj", ".v_proj")):
            module.register_forward_hook(rounded)


def matrices(model: Any) -> Iterator[Any]:
    """What quantization is applied to: the layers' linear weights and stacks of experts, no embedding, norm or router.

    Routers have a row an expert, and stay as they are in every published scheme.
    """
    for name, parameter in model.named_parameters():
        layer, _, leaf = name.rpartition(".")
        owner = model.get_submodule(layer)
        linear = type(owner) is torch.nn.Linear and leaf == "weight" and "lm_head" not in layer
        router = layer.endswith((".gate", ".router", ".shared_expert_gate")) and not layer.endswith(ROW_PARALLEL)
        if (linear and not router) or (parameter.ndim == 3 and "expert" in name):
            yield parameter


RUNGS = (
    Rung("ladder-fp8-kv", fp8_cache),
    Rung("ladder-int8", int8_rows),
    Rung("ladder-fp8", fp8_tensor),
    Rung("ladder-int4", int4_groups),
)
