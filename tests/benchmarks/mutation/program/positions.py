"""Positions and rotations, and what is put before a prompt or lost in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from .finding import attentions, rotaries, short
from .hand import Change, Hand, on_input

DISTANCES = "rotary embeddings see distances alone, which a shift of all positions leaves as they are"

RECOMPUTED = ("longrope", "dynamic")
"""Kinds whose frequencies are computed for each sequence; what is stored of them is not read."""


def all_shifted(subject: Any) -> Iterator[Change]:
    if subject.rotates:
        yield Change("all + 1", feed=lambda hand, feed: hand.positions(feed, shift=1), same=DISTANCES)


def shifted_later(subject: Any) -> Iterator[Change]:
    if subject.rotates:
        yield Change("+ 1 after the first chunk", feed=lambda hand, feed: hand.positions(feed, shift_later=1))
        yield Change("- 1 after the first chunk", feed=lambda hand, feed: hand.positions(feed, shift_later=-1))


def restarted(subject: Any) -> Iterator[Change]:
    if subject.rotates:
        yield Change("from 0 in each chunk", feed=lambda hand, feed: hand.positions(feed, restart=True))


def shifted_in_decode(subject: Any) -> Iterator[Change]:
    if subject.rotates:
        yield Change("generated tokens + 1", feed=lambda hand, feed: hand.positions(feed, shift_decode=1))


def doubled_bos(subject: Any) -> Iterator[Change]:
    bos = getattr(subject.config, "bos_token_id", None)
    yield Change("a BOS before the prompt", feed=lambda hand, feed: hand.feed(feed, front=(1 if bos is None else bos,)))


def dropped_first(_: Any) -> Iterator[Change]:
    yield Change("the first token is lost", feed=lambda hand, feed: hand.feed(feed, drop=1))


def chunk_overlap(_: Any) -> Iterator[Change]:
    yield Change("the last token of a chunk twice", feed=lambda hand, feed: hand.feed(feed, overlap=1))


# --- rotations --------------------------------------------------------------------------------------------


def rotary(subject: Any, change: Any, site: str) -> Iterator[Change]:
    """A change of what all rotary modules give: cosines and sines, or numbers of the complex plane."""
    names = [name for name, _ in rotaries(subject.model)] if subject.rotates else []
    if not names:
        return

    def apply(hand: Hand, model: Any) -> None:
        for name in names:
            hand.output(model.get_submodule(name), change)

    yield Change(site, model=apply)


def layout(subject: Any) -> Iterator[Change]:
    yield from rotary(subject, partial(_pairs, _other_layout), "pairs side by side for halves, or the reverse")


def direction(subject: Any) -> Iterator[Change]:
    yield from rotary(subject, _backwards, "turned the other way")


def rounded(subject: Any) -> Iterator[Change]:
    yield from rotary(subject, partial(_pairs, _bfloat16), "cosines and sines in bfloat16")


def frequencies(subject: Any) -> Iterator[Change]:
    names = [
        name for name, module in rotaries(subject.model)
        if subject.rotates and getattr(module, "rope_type", "") not in RECOMPUTED
    ]  # fmt: skip

    def apply(hand: Hand, model: Any) -> None:
        for name in names:
            for key, buffer in model.get_submodule(name).named_buffers():
                if key.endswith("inv_freq"):
                    hand.tensor(buffer, _bfloat16)

    if names:
        yield Change("inverse frequencies in bfloat16", model=apply)


def missing(subject: Any) -> Iterator[Change]:
    """No rotation in one layer, in models that hand it to each layer."""
    for name in subject.rotating[:1] + subject.rotating[1:][-1:]:
        yield Change(
            short(name), model=on_input(name, _no_rotation)
        )  # fmt: skip


def _no_rotation(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    given = kwargs["position_embeddings"]
    if isinstance(given, tuple):
        still = (torch.ones_like(given[0]), torch.zeros_like(given[1]))
        return args, {**kwargs, "position_embeddings": still}
    return args, {**kwargs, "position_embeddings": torch.ones_like(given)}


def rotating(model: Any, ids: Any) -> list[str]:
    """Attention layers that are handed a rotation by name."""
    found: list[str] = []

    def hook(name: str, kwargs: dict[str, Any]) -> None:
        given = kwargs.get("position_embeddings")
        if given is not None and (isinstance(given, torch.Tensor) or isinstance(given[0], torch.Tensor)):
            found.append(name)

    handles = [
        module.register_forward_pre_hook(lambda _, __, kwargs, name=name: hook(name, kwargs), with_kwargs=True)
        for name, module in attentions(model)
    ]
    with torch.inference_mode():
        model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def _pairs(change: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(change(part) for part in output)
    if output.is_complex():
        return torch.view_as_complex(
            change(torch.view_as_real(output).transpose(-1, -2)).transpose(-1, -2).contiguous()
        )
    return change(output)


def _other_layout(values: Any) -> Any:
    half = values.shape[-1] // 2
    return torch.stack([values[..., :half], values[..., half:]], -1).flatten(-2)


def _backwards(output: Any) -> Any:
    if isinstance(output, tuple):
        return (output[0], -output[1])
    return output.conj().resolve_conj() if output.is_complex() else -output


def _bfloat16(values: Any) -> Any:
    return values.to(torch.bfloat16).to(values.dtype)
