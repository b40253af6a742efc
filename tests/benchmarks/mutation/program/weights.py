"""Tensors that are not loaded, or put in the wrong place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from .finding import MEDIA, OUTPUT_PROJECTIONS, ends, layers, modules, short, tensor, tensors
from .hand import Change, Hand, on_output, on_tensor

NOT_LOADED = {
    "sinks": r"sinks?",
    "query and key norms": r"((q|k|query|key|q_a|kv_a)_(layer)?norm)\.weight",
    "projections' biases": r"(q|k|v|qkv|o|gate|up|down|gate_up|out|in)_proj(\.bias|_bias)",
    "A_log": r"A_log",
    "dt_bias": r"dt_bias|dt_proj\.bias",
    "D": r"D",
    "conv weight": r"(\w*conv\w*)\.weight",
    "conv bias": r"(\w*conv\w*)\.bias",
    "router's bias": r"e_score_correction_bias|expert_bias|router\.bias|gate\.bias|correction_bias",
    "layer scalar": r"layer_scalar|per_expert_scale|router\.scale",
    "norm weight": r"(?!q_|k_|kv_|query_|key_)\w*norm\w*\.weight",
}
"""What engines have forgotten to load, by the names that transformers gives it."""


def not_loaded(pattern: str, subject: Any) -> Iterator[Change]:
    """Tensors of that kind as the class initialises them: in the first layer that has one, and in all."""
    names = [name for name, _ in tensors(subject.model, pattern)]
    if names:
        yield Change(short(names[0]), model=partial(_as_initialised, names=names[:1], defaults=subject.defaults))
    if len(names) > 1:
        yield Change("all of them", model=partial(_as_initialised, names=names, defaults=subject.defaults))


def _as_initialised(hand: Hand, model: Any, names: list[str], defaults: dict[str, Any]) -> None:
    for name in names:
        hand.tensor(tensor(model, name), partial(_given, defaults[name]))


def matrix_not_loaded(subject: Any) -> Iterator[Change]:
    """An output projection, or the experts' one, at its random start, in the first layer and in the last."""
    for name, _ in ends(tensors(subject.model, OUTPUT_PROJECTIONS)):
        yield Change(short(name), model=partial(_as_initialised, names=[name], defaults=subject.defaults))


def swap(pattern: str, subject: Any) -> Iterator[Change]:
    """The tensors of two layers that match a pattern, exchanged; the first two layers that are of one kind."""
    found = [
        (name, {key: value.shape for key, value in module.state_dict().items() if re.search(pattern, key)})
        for name, module in layers(subject.model)
    ]
    alike = [
        (one, other)
        for place, (one, shapes) in enumerate(found)
        for other, others in found[place + 1 :]
        if shapes and shapes == others
    ]
    for one, other in ends(alike):
        yield Change(
            f"{short(one)} and {short(other)}",
            model=partial(_exchange, one=one, other=other, pattern=pattern),
        )  # fmt: skip


def _exchange(hand: Hand, model: Any, one: str, other: str, pattern: str) -> None:
    ours, theirs = (model.get_submodule(name).state_dict(keep_vars=True) for name in (one, other))
    for key in [key for key in ours if re.search(pattern, key)]:
        kept = ours[key].detach().clone()
        hand.tensor(ours[key], partial(_given, theirs[key]))
        hand.tensor(theirs[key], partial(_given, kept))


def _given(tensor: Any, _: Any) -> Any:
    return tensor.detach()


def layers_swapped(subject: Any) -> Iterator[Change]:
    yield from swap(r".", subject)


def attention_swapped(subject: Any) -> Iterator[Change]:
    yield from swap(r"(attn|attention|mixer|mamba)\.", subject)


def gate_and_up(subject: Any) -> Iterator[Change]:
    """The two inputs of a gated unit exchanged, in modules of their own or in one."""
    for name, _ in ends([pair for pair in modules(subject.model, r"\w+") if _gated(pair[1])]):

        def apply(hand: Hand, model: Any, name: str = name) -> None:
            found = model.get_submodule(name)
            kept = found.gate_proj.weight.detach().clone()
            hand.tensor(found.gate_proj.weight, lambda _: found.up_proj.weight.detach())
            hand.tensor(found.up_proj.weight, lambda _: kept)

        yield Change(short(name), model=apply)


def _gated(module: Any) -> bool:
    gate, up = getattr(module, "gate_proj", None), getattr(module, "up_proj", None)
    if not isinstance(gate, torch.nn.Linear) or not isinstance(up, torch.nn.Linear):
        return False
    return bool(gate.weight.shape == up.weight.shape)


def fused_gate_and_up(subject: Any) -> Iterator[Change]:
    for name, found in ends(tensors(subject.model, r"gate_up_proj(\.weight)?")):
        dimension = -1 if _transposed(subject.model, name) else -2
        size = found.shape[dimension] // 2
        yield Change(
            short(name),
            model=on_tensor(name, partial(_rolled, size, dimension)),
        )  # fmt: skip


def _rolled(size: int, dimension: int, old: Any) -> Any:
    return old.roll(size, dimension)


def _transposed(model: Any, name: str) -> bool:
    return bool(getattr(model.get_submodule(name.rpartition(".")[0]), "is_transposed", False))


def rank_lost(subject: Any) -> Iterator[Change]:
    """A quarter of the inputs of an output projection: what one of four devices adds."""
    for name, _ in ends(tensors(subject.model, r"(o_proj|out_proj|down_proj)\.weight")):
        yield Change(
            short(name), model=on_tensor(name, _without_quarter)
        )  # fmt: skip


def _without_quarter(old: Any) -> Any:
    old[:, -(old.shape[1] // 4) :] = 0
    return old


def bias_twice(subject: Any) -> Iterator[Change]:
    """As where every one of two devices adds it."""
    for name, _ in ends(tensors(subject.model, r"(o_proj|out_proj|down_proj|dense|fc2|q_proj)\.bias")):
        yield Change(
            short(name), model=on_tensor(name, lambda old: 2 * old)
        )  # fmt: skip


# --- embeddings and the output matrix ---------------------------------------------------------------------


def tie(subject: Any) -> Iterator[Change]:
    """The output matrix at its random start where it is the embedding, or the embedding where it is its own."""
    head, rows = subject.model.get_output_embeddings(), subject.model.get_input_embeddings()
    tied = head.weight.data_ptr() == rows.weight.data_ptr()

    def apply(hand: Hand, model: Any) -> None:
        weight = model.get_output_embeddings().weight
        embedding = model.get_input_embeddings().weight.detach().clone()
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(weight.shape, generator=generator).to(weight.dtype) * embedding.std()
        model.get_output_embeddings().weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
        hand.tensor(model.get_output_embeddings().weight, lambda _: drawn if tied else embedding)

    if head.weight.shape == rows.weight.shape:
        yield Change("broken" if tied else "made where there is none", model=apply)


def embedding_scale(subject: Any) -> Iterator[Change]:
    for name, _ in tensors_and_buffers(subject.model, r"embed_scale"):

        def scaled(hand: Hand, model: Any, change: Callable[[Any], Any], name: str = name) -> None:
            hand.tensor(dict(model.named_buffers())[name], change)

        yield Change(f"{short(name)} dropped", model=partial(scaled, change=torch.ones_like))
        yield Change(
            f"{short(name)} in bfloat16",
            model=partial(scaled, change=lambda old: old.to(torch.bfloat16).to(old.dtype)),
            same="the scale is a number that bfloat16 holds",
        )  # fmt: skip


def tensors_and_buffers(model: Any, pattern: str) -> list[tuple[str, Any]]:
    """Buffers whose name ends as a pattern says, saved or not."""
    found = re.compile(rf"(^|\.)({pattern})$")
    return [(name, one) for name, one in model.named_buffers() if found.search(name) and not MEDIA.search(name)]


def per_layer_inputs(subject: Any) -> Iterator[Change]:
    """What each layer is told of the token once more, left out in one of them."""
    for name, _ in ends(modules(subject.model, r"layers\.\d+\.per_layer_projection")):
        yield Change(
            short(name), model=on_output(name, torch.zeros_like)
        )  # fmt: skip
