"""Norms: missing, of another kind, in another place, with another reading of their weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from .finding import ends, layers, modules, short, text_modules
from .hand import Change, Hand, on_both, on_input, on_value

ATTENTION = ("self_attn", "attention", "linear_attn", "mixer", "mamba", "conv", "temporal_block")
BEFORE = ("input_layernorm", "operator_norm", "norm", "pre_attention_layernorm", "ln_1")


def norms(model: Any) -> list[tuple[str, Any]]:
    """Modules that normalise and have a weight."""
    return [
        (name, module)
        for name, module in text_modules(model)
        if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None
    ]


def plain(model: Any) -> list[tuple[str, Any]]:
    """Those that see one input and not a gate beside it."""
    return [(name, module) for name, module in norms(model) if "Gated" not in type(module).__name__]


def _as_given(given: Any, _: Any) -> Any:
    return given.clone()


def missing(subject: Any) -> Iterator[Change]:
    for name, _ in ends(plain(subject.model)[:-1]):
        yield Change(
            short(name),
            model=on_both(name, _as_given),
        )  # fmt: skip


def last_missing(subject: Any) -> Iterator[Change]:
    for name, _ in plain(subject.model)[-1:]:
        yield Change(
            short(name),
            model=on_both(name, _as_given),
        )  # fmt: skip


def one_and_weight(subject: Any) -> Iterator[Change]:
    """A weight that is read as what is added to 1, or the reverse."""
    for name, _ in ends(plain(subject.model)):
        zero = not subject.defaults[f"{name}.weight"].any()

        def apply(hand: Hand, model: Any, name: str = name, zero: bool = zero) -> None:
            hand.tensor(model.get_submodule(name).weight, lambda old: old - 1 if zero else old + 1)

        yield Change(f"{short(name)}: {'w for 1 + w' if zero else '1 + w for w'}", model=apply)


def mean_taken(subject: Any) -> Iterator[Change]:
    """Layer norm for RMS norm."""
    for name, module in ends(plain(subject.model)):
        if "RMS" in type(module).__name__:
            yield Change(
                short(name), model=on_input(name, _centred)
            )  # fmt: skip


def _centred(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (args[0] - args[0].mean(-1, keepdim=True), *args[1:]), kwargs


def two_swapped(subject: Any) -> Iterator[Change]:
    """The weights of two norms of one layer exchanged."""
    found = []
    for name, layer in layers(subject.model):
        own = [(one, norm) for one, norm in plain(layer) if norm.weight.shape == plain(layer)[0][1].weight.shape]
        if len(own) > 1:
            found.append((f"{name}.{own[0][0]}", f"{name}.{own[1][0]}"))
    for one, other in ends(found):

        def apply(hand: Hand, model: Any, one: str = one, other: str = other) -> None:
            ours, theirs = model.get_submodule(one).weight, model.get_submodule(other).weight
            kept = ours.detach().clone()
            hand.tensor(ours, lambda _: theirs.detach())
            hand.tensor(theirs, lambda _: kept)

        yield Change(f"{short(one)} and {short(other)}", model=apply)


def behind(subject: Any) -> Iterator[Change]:
    """A layer's first norm applied to what its attention gives, and not to what it takes."""
    found = []
    for name, layer in layers(subject.model):
        children = dict(layer.named_children())
        norm = next((one for one in BEFORE if one in children), None)
        part = next((one for one in ATTENTION if one in children), None)
        if norm and part and getattr(children[norm], "weight", None) is not None:
            found.append((f"{name}.{norm}", f"{name}.{part}"))
    for norm, part in ends(found):
        yield Change(
            short(norm), model=partial(_move, norm=norm, part=part)
        )  # fmt: skip


def _move(hand: Hand, model: Any, norm: str, part: str) -> None:
    module = model.get_submodule(norm)
    applied = module.forward
    hand.through(module, _as_given)
    hand.output(model.get_submodule(part), lambda output: _first(applied, output))


def _first(change: Any, output: Any) -> Any:
    return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)


def whole_width(subject: Any) -> Iterator[Change]:
    """Norms of queries and keys head by head where they are over all heads."""
    found = [
        (name, module) for name, module in modules(subject.model, r"q_norm|k_norm")
        if getattr(module, "weight", None) is not None
    ]  # fmt: skip
    for name, module in ends(found):
        parent = subject.model.get_submodule(name.rpartition(".")[0])
        width = getattr(parent, "head_dim", 0)
        if width and module.weight.shape[-1] > width and module.weight.shape[-1] % width == 0:
            yield Change(
                short(name),
                model=on_input(name, partial(_by_head, width)),
            )  # fmt: skip


def _by_head(width: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Numbers whose norm over all heads leaves each head normed by itself."""
    parts = args[0].reshape(*args[0].shape[:-1], -1, width)
    normed = parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + 1e-12)
    return (normed.reshape(args[0].shape), *args[1:]), kwargs


def gated_groups(subject: Any) -> Iterator[Change]:
    """A gated norm over the whole width where it is over groups."""
    found = [
        (name, module) for name, module in text_modules(subject.model)
        if "Gated" in type(module).__name__ and getattr(module, "group_size", None)
    ]  # fmt: skip
    for name, module in ends([one for one in found if one[1].weight.shape[-1] > one[1].group_size]):
        size = module.weight.shape[-1]
        yield Change(
            short(name),
            model=on_value(name, "group_size", size),
        )  # fmt: skip
