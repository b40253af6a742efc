"""Does every tensor matter? Each is put back to its default, one at a time, and the output must move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .calibrate import logits
from .draw import CONSTANTS, tensors

SHAKE, SHAKES = 1e-6, 4
STEADY = 2e-3
"""Nats by which a shaken output may move; drawn weights move it by some 1e-4, a choice that is nearly a tie by 1e-2."""
SEEN = 1e-3
"""Nats by which some logprob must move: a hundred times what float32 rounding moves it."""


def silent_tensors(model: nn.Module, ids: torch.Tensor, defaults: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Tensors of the text part whose loss would not be seen, with how far the output moves without them."""
    right = _logprobs(model, ids)
    silent = {}
    for name, _, tensor in tensors(model):
        if not tensor.is_floating_point() or is_media(name) or name.endswith(CONSTANTS):
            continue
        own = tensor.clone()
        tensor.copy_(defaults[name])
        moved = float((_logprobs(model, ids) - right).abs().max())
        tensor.copy_(own)
        if not moved > SEEN:
            silent[name] = moved
    return silent


def amplified(model: nn.Module, ids: torch.Tensor, seed: int = 0) -> float:
    """Largest change (nats) of a logprob when every embedded number is off by about one part in a million.

    Rounding is amplified by peaked weights everywhere, and out of all proportion where a router's choice is nearly a
    tie: there two right engines differ.
    """
    right = _logprobs(model, ids)
    noise = torch.Generator().manual_seed(seed)

    def shake(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output * (1 + SHAKE * torch.randn(output.shape, generator=noise))

    handle = model.get_input_embeddings().register_forward_hook(shake)
    worst = 0.0
    for _ in range(SHAKES):
        moved = float((_logprobs(model, ids) - right).abs().max())
        worst = max(worst, moved if math.isfinite(moved) else math.inf)
    handle.remove()
    return worst


def _logprobs(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(logits(model, ids), -1)


def is_media(name: str) -> bool:
    """Whether a tensor belongs to a tower that text does not pass through."""
    return any(word in name for word in ("vision", "audio", "visual", "multi_modal", "mm_projector", "embed_vision"))


def effect(model: nn.Module, ids: torch.Tensor) -> dict[str, Any]:
    """How the output looks: the spread of logprobs, and the share of the likeliest token."""
    found = _logprobs(model, ids)
    return {
        "logprob spread": round(float(found.std()), 2),
        "top probability": round(float(found.exp().amax(-1).mean()), 2),
    }
