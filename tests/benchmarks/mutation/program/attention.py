"""Softmax attention: scales, heads, sinks, gates and caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .finding import attentions, ends, modules, short, tensors
from .hand import Change, Hand, on_output

FAR = 1e4
"""Beyond what a sigmoid or a softmax tells from infinity."""


def scale(subject: Any) -> Iterator[Change]:
    names = [name for name, _ in attentions(subject.model)]

    def apply(hand: Hand, model: Any, some: list[str]) -> None:
        for name in some:
            module = model.get_submodule(name)
            hand.value(module, "scaling", module.scaling * 1.01)

    if names:
        yield Change("a hundredth too large in all layers", model=lambda hand, model: apply(hand, model, names))
        yield Change("the same in the last", model=lambda hand, model: apply(hand, model, names[-1:]))


def scale_of_other_width(subject: Any) -> Iterator[Change]:
    """1/sqrt(d) of hidden size by heads, where heads have another width, or of both parts of a split head."""
    names = [name for name, _ in attentions(subject.model)]
    if not names:
        return
    module = subject.model.get_submodule(names[0])
    width = subject.config.hidden_size // subject.config.num_attention_heads
    head = getattr(module, "head_dim", None) or getattr(module, "qk_nope_head_dim", width)
    value = next(one**-0.5 for one in (width, head, 2 * head) if abs(one**-0.5 / module.scaling - 1) > 1e-6)

    def apply(hand: Hand, model: Any) -> None:
        for name in names:
            hand.value(model.get_submodule(name), "scaling", value)

    yield Change(f"{value:.3g} for {module.scaling:.3g}", model=apply)


def heads(subject: Any) -> Iterator[tuple[str, int, int, int]]:
    """Attention layers with plain projections: name, query heads, key heads, width."""
    for name, module in attentions(subject.model):
        width, groups = getattr(module, "head_dim", None), getattr(module, "num_key_value_groups", None)
        key, query = getattr(module, "k_proj", None), getattr(module, "q_proj", None)
        if width and groups and key is not None and query is not None:
            count = key.weight.shape[0] // width
            yield name, count * groups, count, width


def key_heads(subject: Any) -> Iterator[Change]:
    """The key heads of a layer in the reverse order, the value heads as they are."""
    found = [one for one in heads(subject) if one[2] > 1]
    for name, _, count, _ in ends(found):

        def apply(hand: Hand, model: Any, name: str = name, count: int = count) -> None:
            projection = model.get_submodule(name).k_proj
            hand.tensor(projection.weight, lambda old: _blocks(old, count).flip(0).reshape(old.shape))

        yield Change(short(name), model=apply)


def grouping(subject: Any) -> Iterator[Change]:
    """Query head h with key head h modulo their number, where neighbours share one."""
    found = [one for one in heads(subject) if 1 < one[2] < one[1] and one[1] // one[2] > 1]
    for name, count, keys, _ in ends(found):
        order = torch.arange(count).reshape(count // keys, keys).T.flatten()

        def apply(hand: Hand, model: Any, name: str = name, count: int = count, order: Any = order) -> None:
            module = model.get_submodule(name)
            hand.tensor(module.q_proj.weight, lambda old: _blocks(old, count)[order].reshape(old.shape))
            output = module.o_proj.weight
            hand.tensor(output, lambda old: _blocks(old.T, count)[order].reshape(old.T.shape).T)

        yield Change(short(name), model=apply)


def _blocks(rows: Any, count: int) -> Any:
    return rows.reshape(count, -1, rows.shape[-1])


def sinks(subject: Any) -> Iterator[Change]:
    names = [name for name, _ in tensors(subject.model, "sinks?")]
    for some, site in ((names, "of all layers"), (names[-1:], "of the last layer")):

        def apply(hand: Hand, model: Any, some: list[str] = some) -> None:
            for name in some:
                hand.tensor(model.get_parameter(name), lambda old: torch.full_like(old, -FAR))

        if names:
            yield Change(site, model=apply)


def gate(subject: Any) -> Iterator[Change]:
    """An attention layer's output gate left open."""
    names = [name for name, _ in modules(subject.model, r"(self_attn|attention|mixer)\.(gate_proj|g_proj)")]
    for name in ends(names):
        yield Change(
            short(name), model=on_output(name, _open)
        )  # fmt: skip


def gate_in_queries(subject: Any) -> Iterator[Change]:
    """The same where the gate is the second half of each query head."""
    found = [
        (name, count, width)
        for name, count, _, width in heads(subject)
        if subject.model.get_submodule(name).q_proj.weight.shape[0] == 2 * count * width
    ]
    for name, count, _ in ends(found):

        def opened(output: Any, count: int = count) -> Any:
            halves = output.reshape(*output.shape[:-1], count, 2, -1).clone()
            halves[..., 1, :] = FAR
            return halves.reshape(output.shape)

        yield Change(
            short(name),
            model=on_output(f"{name}.q_proj", opened),
        )  # fmt: skip


def _open(output: Any) -> Any:
    return torch.full_like(output, FAR)


def cache_in_fp8(subject: Any) -> Iterator[Change]:
    yield from _cache(subject, torch.float8_e4m3fn, "fp8")


def cache_in_bfloat16(subject: Any) -> Iterator[Change]:
    yield from _cache(subject, torch.bfloat16, "bfloat16")


def _cache(subject: Any, kind: Any, word: str) -> Iterator[Change]:
    """Keys, before their rotation, and values as a cache of that kind keeps them."""
    names = [name for name, _ in modules(subject.model, r"k_proj|v_proj|kv_a_proj_with_mqa|kv_b_proj")]

    def apply(hand: Hand, model: Any) -> None:
        for name in names:
            hand.output(model.get_submodule(name), lambda values: values.to(kind).to(values.dtype))

    if names:
        yield Change(f"keys and values in {word}", model=apply)


def first_key_lost(subject: Any) -> Iterator[Change]:
    """The first token's keys and values are zeros once its chunk is done."""
    if attentions(subject.model):
        yield Change(
            "the first token's", feed=lambda hand, feed: feed._replace(between=_first(0.0 if not hand.null else 1.0))
        )


def last_key_lost_in_decode(subject: Any) -> Iterator[Change]:
    if attentions(subject.model):
        yield Change(
            "the prompt's last token's, when generating",
            feed=lambda hand, feed: feed._replace(before_decode=_last(0.0 if not hand.null else 1.0)),
        )  # fmt: skip


def _first(factor: float) -> Any:
    return lambda cache: _scaled(cache, 0, factor)


def _last(factor: float) -> Any:
    return lambda cache: _scaled(cache, -1, factor)


def _scaled(cache: Any, place: int, factor: float) -> None:
    for layer in getattr(cache, "layers", []):
        for name in ("keys", "values"):
            kept = getattr(layer, name, None)
            if isinstance(kept, torch.Tensor) and kept.ndim == 4 and kept.shape[2]:
                changed = kept.clone()
                changed[:, :, place] *= factor
                setattr(layer, name, changed)
