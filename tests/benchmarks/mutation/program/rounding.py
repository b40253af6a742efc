"""Numbers that are rounded where they should not be, and activations of another kind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from .finding import OUTPUT_PROJECTIONS, ends, layers, modules, short, tensors, text_modules
from .hand import Change, Hand, on_output


def quantized(rounding: str, subject: Any) -> Iterator[Change]:
    """All matrices of the layers, or the last output projection, rounded as the reference's ladder rounds them."""
    ladder = sys.modules["reference_program.ladder"]

    def apply(hand: Hand, model: Any, some: bool) -> None:
        outputs = [weight for _, weight in tensors(model, OUTPUT_PROJECTIONS)]
        for weight in outputs[-1:] if some else ladder.matrices(model):
            hand.tensor(weight, lambda old: getattr(ladder, rounding)(old.float()).to(old.dtype))

    yield Change("in all layers", model=partial(apply, some=False))
    yield Change("in one matrix", model=partial(apply, some=True))


def in_bfloat16(module: Any, args: Any) -> Any:
    """A linear module's product in bfloat16."""
    bias = None if module.bias is None else module.bias.bfloat16()
    product = torch.nn.functional.linear(args[0].bfloat16(), module.weight.bfloat16(), bias)
    return product.to(args[0].dtype)


def accumulated(subject: Any) -> Iterator[Change]:
    """One layer's matrix multiplied in bfloat16."""
    found = [name for name, module in modules(subject.model, r"layers\..*") if type(module) is torch.nn.Linear]
    for name in ends(found):
        yield Change(short(name), model=partial(_linear, name=name))


def output_matrix(subject: Any) -> Iterator[Change]:
    yield Change("lm_head", model=partial(_linear, name="lm_head"))


def _linear(hand: Hand, model: Any, name: str) -> None:
    module = model.get_submodule(name) if name != "lm_head" else model.get_output_embeddings()

    def hook(own: Any, args: Any, output: Any) -> Any:
        return output.clone() if hand.null else in_bfloat16(own, args)

    module.register_forward_hook(hook)


def residual(subject: Any) -> Iterator[Change]:
    """What one layer hands to the next, in bfloat16."""
    for name, _ in ends(layers(subject.model)[:-1]):
        yield Change(
            short(name), model=on_output(name, _rounded)
        )  # fmt: skip


def _rounded(output: Any) -> Any:
    if isinstance(output, tuple):
        return (_rounded(output[0]), *output[1:])
    return output.to(torch.bfloat16).to(output.dtype)


# --- activations ------------------------------------------------------------------------------------------


class Tanh(torch.nn.Module):  # type: ignore[misc]  # torch is not here to tell
    """GELU by its tangent."""

    def forward(self, values: Any) -> Any:
        """The usual approximation."""
        return torch.nn.functional.gelu(values, approximate="tanh")


OTHERS = {
    "gelu": (("tanh for erf", Tanh), ("silu", torch.nn.SiLU)),
    "tanh": (("erf for tanh", torch.nn.GELU), ("silu", torch.nn.SiLU)),
    "silu": (("gelu", torch.nn.GELU), ("relu", torch.nn.ReLU)),
    "relu": (("without its square", torch.nn.ReLU), ("silu", torch.nn.SiLU)),
}


def activation(subject: Any) -> Iterator[Change]:
    """Another one in all feed-forward layers: the other way to compute it first, where there are two."""
    found = [
        (name, key)
        for name, module in text_modules(subject.model)
        for key, child in module.named_children()
        if key in ("act_fn", "activation_fn", "act") and isinstance(child, torch.nn.Module)
    ]
    if not found:
        return
    kind = type(subject.model.get_submodule(".".join(filter(None, found[0])))).__name__.lower()
    own = next((word for word in ("tanh", "gelu", "silu", "relu") if word in kind), None)
    for word, other in OTHERS.get(own or "", ()):

        def apply(hand: Hand, model: Any, other: Any = other) -> None:
            for name, key in found:
                hand.value(model.get_submodule(name), key, other())

        yield Change(word, model=apply)
