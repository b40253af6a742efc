"""Mixtures of experts: the router's scores, its bias, its weights, and the experts themselves.

A router is found by what it gives: logits or probabilities, the chosen experts' weights, and their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch

from .finding import MEDIA, ends, modules, short, tensor, tensors
from .hand import Change, Hand, on_output, on_tensor, on_value

FAR = 1e4
TINY = 1e-20


class Router(NamedTuple):
    """How a router makes weights of scores."""

    name: str
    probabilities: bool
    """It gives probabilities where others give logits."""
    sigmoid: bool
    normed: bool
    scale: float


def is_routing(output: Any) -> bool:
    """Logits, weights, numbers."""
    return (
        isinstance(output, tuple)
        and len(output) == 3
        and all(isinstance(part, torch.Tensor) for part in output)
        and not output[2].is_floating_point()
        and output[1].shape == output[2].shape
    )


def routers(subject: Any) -> list[Router]:
    """All of a model."""
    found = subject.outputs(is_routing)
    return [_known(subject.model.get_submodule(name), name, found[name]) for name in found if not MEDIA.search(name)]


def _known(module: Any, name: str, output: Any) -> Router:
    first, weights, numbers = output
    probabilities = bool((first.sum(-1) - 1).abs().max() < 1e-3 and (first >= 0).all())
    totals = weights.sum(-1)
    normed = bool((totals / totals.mean() - 1).abs().max() < 1e-3) and weights.shape[-1] > 1
    chosen = {
        kind: _scores(first, probabilities, kind).gather(-1, numbers.reshape(*first.shape[:-1], -1))
        for kind in (False, True)
    }
    shape = weights.reshape(chosen[True].shape)
    errors = {kind: float(_off(shape, scores)) for kind, scores in chosen.items()}
    sigmoid = not probabilities and errors[True] < errors[False]
    scale = float(totals.mean()) if normed else float((shape / chosen[sigmoid]).mean())
    return Router(name, probabilities, sigmoid, normed, scale)


def _off(weights: Any, scores: Any) -> Any:
    one, other = (part / part.sum(-1, keepdim=True).clamp_min(TINY) for part in (weights, scores))
    return (one - other).abs().max()


def _scores(first: Any, probabilities: bool, sigmoid: bool) -> Any:
    if probabilities:
        return first
    return first.sigmoid() if sigmoid else first.softmax(-1)


def _reweighted(router: Router, scores: Any, bias: Any, renormed: bool, output: Any) -> Any:
    """The same choice with weights of other scores."""
    first, weights, numbers = output
    where = numbers.reshape(*first.shape[:-1], -1)
    own = scores(first)
    own = (own if bias is None else own + bias.to(own.dtype)).gather(-1, where)
    total = own.sum(-1, keepdim=True) if renormed else torch.ones_like(own[..., :1])
    return first, (own / total * router.scale).reshape(weights.shape).to(weights.dtype), numbers


def _at_ends(subject: Any, change: Any) -> Iterator[Change]:
    for router in ends(subject.routers):
        made = change(router)
        if made is not None:
            yield Change(
                short(router.name),
                model=on_output(router.name, made),
            )  # fmt: skip


def norm_of_weights(subject: Any) -> Iterator[Change]:
    """The chosen experts' weights not divided by their sum where they should be, or the reverse."""

    def change(router: Router) -> Any:
        scores = partial(_scores, probabilities=router.probabilities, sigmoid=router.sigmoid)
        return partial(_reweighted, router, scores, None, not router.normed)

    yield from _at_ends(subject, change)


def score_function(subject: Any) -> Iterator[Change]:
    """Softmax for sigmoid, or the reverse, in the weights; the choice stays."""

    def change(router: Router) -> Any:
        if router.probabilities:
            return None
        scores = partial(_scores, probabilities=False, sigmoid=not router.sigmoid)
        return partial(_reweighted, router, scores, None, router.normed)

    for made in _at_ends(subject, change):
        yield made._replace(same="a softmax over the chosen logits is the chosen part of one over all, normed")


def bias_in_weights(subject: Any) -> Iterator[Change]:
    """The bias that corrects the choice added to the weights as well."""
    biases = dict(tensors(subject.model, r"e_score_correction_bias|expert_bias|correction_bias"))

    def change(router: Router) -> Any:
        near = [one for name, one in biases.items() if name.rpartition(".")[0] in router.name or router.name in name]
        if not near:
            return None
        scores = partial(_scores, probabilities=router.probabilities, sigmoid=router.sigmoid)
        return partial(_reweighted, router, scores, near[0].detach().clone(), router.normed)

    yield from _at_ends(subject, change)


def bias_dropped(subject: Any) -> Iterator[Change]:
    names = [name for name, _ in tensors(subject.model, r"e_score_correction_bias|expert_bias|correction_bias")]

    def apply(hand: Hand, model: Any) -> None:
        for name in names:
            hand.tensor(tensor(model, name), torch.zeros_like)

    if names:
        yield Change("of all layers, from the choice", model=apply)


def out_of_step(subject: Any) -> Iterator[Change]:
    """The chosen experts' weights in the reverse order."""

    def change(router: Router) -> Any:
        return lambda output: (output[0], output[1].flip(-1), output[2])

    yield from _at_ends(subject, change)


def scale_dropped(subject: Any) -> Iterator[Change]:
    def change(router: Router) -> Any:
        if abs(router.scale - 1) < 1e-3:
            return None
        return lambda output: (output[0], output[1] / router.scale, output[2])

    yield from (one for one in _at_ends(subject, change) if any(router.normed for router in subject.routers))


def count(subject: Any) -> Iterator[Change]:
    """One expert too many, or too few."""
    names = [name for name, module in subject.model.named_modules() if isinstance(getattr(module, "top_k", None), int)]
    names = [name for name in names if not MEDIA.search(name)]

    def apply(hand: Hand, model: Any, more: int) -> None:
        for name in names:
            module = model.get_submodule(name)
            hand.value(module, "top_k", module.top_k + more)

    if names:
        yield Change("one too many", model=partial(apply, more=1))
        if all(subject.model.get_submodule(name).top_k > 1 for name in names):
            yield Change("one too few", model=partial(apply, more=-1))


def groups(subject: Any) -> Iterator[Change]:
    """Experts chosen among all groups."""
    found = [
        (name, module) for name, module in subject.model.named_modules()
        if getattr(module, "topk_group", None) and getattr(module, "num_group", 1) > module.topk_group
    ]  # fmt: skip
    for name, module in ends(found):
        number = module.num_group
        yield Change(
            short(name),
            model=on_value(name, "topk_group", number),
        )  # fmt: skip


def order(subject: Any) -> Iterator[Change]:
    """The experts of a layer in another order than the router's."""
    names = [name for name, one in tensors(subject.model, r"experts\.\w+") if one.ndim >= 2]
    for layer in ends(sorted({name.rpartition(".")[0] for name in names})):

        def apply(hand: Hand, model: Any, layer: str = layer) -> None:
            for name in names:
                if name.startswith(f"{layer}."):
                    hand.tensor(tensor(model, name), lambda old: old.roll(1, 0))

        yield Change(short(layer), model=apply)


def one_not_loaded(subject: Any) -> Iterator[Change]:
    """One expert's output matrix left at zero."""
    for name, _ in ends(tensors(subject.model, r"experts\.down_proj")):

        def without(old: Any) -> Any:
            old[1] = 0
            return old

        yield Change(
            short(name), model=on_tensor(name, without)
        )  # fmt: skip


def shared_dropped(subject: Any) -> Iterator[Change]:
    for name, _ in ends(modules(subject.model, r"shared_experts?|shared_mlp|shared_expert")):
        yield Change(
            short(name), model=on_output(name, torch.zeros_like)
        )  # fmt: skip


def shared_gate(subject: Any) -> Iterator[Change]:
    """The shared expert's gate left open."""
    for name, _ in ends(modules(subject.model, r"shared_expert_gate")):
        yield Change(
            short(name),
            model=on_output(name, lambda output: torch.full_like(output, FAR)),
        )  # fmt: skip
