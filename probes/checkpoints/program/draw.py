"""Weights that make an architecture's parts matter: random, deterministic, and away from every default.

numpy's generator gives the same numbers on every machine, which torch's does not promise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

Array = np.ndarray[Any, Any]

HALF_LIVES = (2.0, 100.0)
"""Tokens after which half of a recurrent state is left, by head: from the next token to a whole prompt."""

NORM_SPREAD = 0.3
BIAS_SPREAD = 0.3
SCORE_SPREAD = 0.1
"""Of biases that correct a router's scores, which lie between 0 and 1."""
ROUTER_GAIN = 2.0
CONSTANTS = ("act_fn.beta", "act_fn.eps")
"""Kept with the weights and the same in every published checkpoint (Apertus): other values are other functions."""
SPECIAL_TOKENS = 16
SPECIAL_SCALE = 0.05
"""Of the output rows of special tokens, so that greedy text is made of plain characters."""


def tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, torch.Tensor]]:
    """Parameters and the buffers that are saved, by name, each once, with the module that holds it."""
    seen: set[int] = set()
    saved = set(model.state_dict())
    named = [*model.named_parameters(), *((name, buffer) for name, buffer in model.named_buffers() if name in saved)]
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, model.get_submodule(name.rpartition(".")[0]), tensor


def generator(seed: str, name: str) -> np.random.Generator:
    """A stream of its own for each tensor: a new tensor changes no other."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def draw_all(model: nn.Module, config: Any, seed: str, defaults: Mapping[str, torch.Tensor]) -> None:
    """Replace every weight of the model, whatever it is now."""
    text = config.get_text_config()
    for name, module, tensor in tensors(model):
        tensor.copy_(defaults[name])
        drawn = _draw(name, module, tensor, text, generator(seed, name))
        if drawn is not None:
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(drawn)).reshape(tensor.shape).to(tensor.dtype))


def _draw(name: str, module: nn.Module, tensor: torch.Tensor, text: Any, rng: np.random.Generator) -> Any:
    shape, leaf = tuple(tensor.shape), name.rpartition(".")[2]
    if name.endswith(CONSTANTS):
        return None
    if not tensor.is_floating_point():
        return _integers(tensor, text, rng)
    normal = rng.standard_normal(shape)
    default = tensor.detach().numpy()
    if leaf == "A_log":
        return np.log(rng.uniform(1.0, 4.0, shape))
    if leaf == "dt_bias" or name.endswith("dt_proj.bias"):
        return _time_steps(shape, rng)
    if leaf == "D":
        return 1.0 + NORM_SPREAD * normal
    if "correction_bias" in leaf or leaf == "expert_bias":
        return SCORE_SPREAD * normal
    if leaf == "sinks":
        return 1.0 + normal
    if isinstance(module, nn.Embedding) or leaf.startswith("embed"):
        return _rows(normal)
    if len(shape) <= 1:
        spread = NORM_SPREAD if leaf == "weight" else BIAS_SPREAD
        return default + np.clip(spread * normal, -0.6, 0.6)
    if isinstance(module, nn.Conv1d):
        return normal / math.sqrt(shape[1] * shape[2])
    if name.endswith("lm_head.weight"):
        return _rows(normal) / math.sqrt(shape[1])
    gain = ROUTER_GAIN if _is_router(name, shape, text) else 1.0
    return gain * normal / math.sqrt(_fan_in(name, shape, text))


def _rows(normal: Array) -> Array:
    """Rows of a vocabulary: those of special tokens, and the last, which the tokenizer does not have, are small."""
    normal[:SPECIAL_TOKENS] *= SPECIAL_SCALE
    normal[-1] *= SPECIAL_SCALE
    return normal


def _time_steps(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Biases whose softplus, times A around 2, decays a state with half-lives spread evenly over their logarithms."""
    low, high = map(math.log, HALF_LIVES)
    step = math.log(2) / np.exp(rng.uniform(low, high, shape)) / 2.0
    return np.log(np.expm1(step))


def _integers(tensor: torch.Tensor, text: Any, rng: np.random.Generator) -> Array | None:
    """Tables of expert numbers by token id; counters stay as they are."""
    if tensor.ndim != 2:
        return None
    experts = next(getattr(text, name) for name in ("n_routed_experts", "num_experts", "num_local_experts"))
    return np.stack([rng.permutation(experts)[: tensor.shape[1]] for _ in range(tensor.shape[0])])


def _is_router(name: str, shape: tuple[int, ...], text: Any) -> bool:
    experts = {getattr(text, key, None) for key in ("n_routed_experts", "num_experts", "num_local_experts")}
    experts.add(getattr(text, "moe_num_experts", None))
    return len(shape) == 2 and shape[0] in experts and ("router" in name or "gate" in name)


def _fan_in(name: str, shape: tuple[int, ...], text: Any) -> int:
    """Inputs of a matrix [out, in]; of a stack of experts, which come in both layouts, by the residual's width."""
    if len(shape) != 3:
        return math.prod(shape[1:])
    inner = shape[1] if shape[2] == text.hidden_size else shape[2]
    return inner if "down" in name.rpartition(".")[2] else int(text.hidden_size)
