"""Recurrent layers: states that are lost, decays and convolutions that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from .feeding import Feed
from .finding import ends, mixers, short, tensors
from .hand import Change, Hand, on_tensor


def _kept(cache: Any, kind: str, factor: float) -> None:
    """Scale every state of a kind that a cache keeps."""
    for layer in getattr(cache, "layers", []):
        states = getattr(layer, kind, None)
        if isinstance(states, dict):
            for number, state in states.items():
                if state is not None:
                    states[number] = state * factor


def _fed(hand: Hand, feed: Feed, kind: str, when: str) -> Feed:
    between = partial(_kept, kind=kind, factor=1.0 if hand.null else 0.0)
    return feed._replace(between=between) if when == "between" else feed._replace(before_decode=between)


def _lost(subject: Any, kind: str, site: str, when: str) -> Iterator[Change]:
    if mixers(subject.model):
        yield Change(
            site,
            feed=partial(_fed, kind=kind, when=when),
        )  # fmt: skip


def state_lost(subject: Any) -> Iterator[Change]:
    yield from _states(subject, "recurrent_states")


def conv_state_lost(subject: Any) -> Iterator[Change]:
    yield from _states(subject, "conv_states")


def _states(subject: Any, kind: str) -> Iterator[Change]:
    if kind == "recurrent_states" and not tensors(subject.model, "A_log"):
        return
    yield from _lost(subject, kind, "between chunks", "between")
    yield from _lost(subject, kind, "before generating", "before_decode")


def decay(subject: Any) -> Iterator[Change]:
    """A state that is never forgotten, or that decays by A where it should by exp(A)."""
    found = ends(tensors(subject.model, "A_log"))
    for name, _ in found[-1:]:
        yield Change(
            f"{short(name)}: none",
            model=on_tensor(name, lambda old: torch.full_like(old, -20.0)),
        )  # fmt: skip
    for name, _ in found[:1]:
        yield Change(
            f"{short(name)}: without exp",
            model=on_tensor(name, lambda old: old.clamp_min(1e-3).log()),
        )  # fmt: skip


def skip(subject: Any) -> Iterator[Change]:
    """D, by which a layer's input goes past its state, taken for nothing."""
    for name, _ in ends(tensors(subject.model, "D")):
        yield Change(
            short(name), model=on_tensor(name, torch.zeros_like)
        )  # fmt: skip


def reversed_kernel(subject: Any) -> Iterator[Change]:
    for name, _ in ends(tensors(subject.model, r"\w*conv\w*\.weight")):
        yield Change(
            short(name), model=on_tensor(name, lambda old: old.flip(-1))
        )  # fmt: skip


def last_tap(subject: Any) -> Iterator[Change]:
    """A convolution that does not see its oldest input."""
    for name, _ in ends(tensors(subject.model, r"\w*conv\w*\.weight")):

        def without(old: Any) -> Any:
            old[..., 0] = 0
            return old

        yield Change(
            short(name), model=on_tensor(name, without)
        )  # fmt: skip


def head_order(subject: Any) -> Iterator[Change]:
    """The heads' decays in the reverse order."""
    for name, _ in ends(tensors(subject.model, "A_log")):
        yield Change(short(name), model=on_tensor(name, _reversed))


def _reversed(decays: Any) -> Any:
    """Along the heads: the first dimension of more than one, for Kimi Linear's are [1, 1, heads, 1]."""
    return decays.flip(next(dim for dim, size in enumerate(decays.shape) if size > 1))
