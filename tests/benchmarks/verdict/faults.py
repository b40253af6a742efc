"""Faults that an engine may have, put into a model of transformers; part of `program.py`, which runs beside torch.

Each changes a loaded model, or how a sequence is fed to it, as a plausible mistake would: a scale, a base, a position,
a weight that was not loaded, a window, a rounding. Grades of one kind are in the order of their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

Ids = list[int]


class Feed(NamedTuple):
    """One sequence as the faulty engine computes it."""

    ids: Ids
    skip: int = 0
    """Logits to leave out in front: those of tokens that should not be there."""
    ahead: int = 0
    """Tokens of the sequence that `ids` lacks in front; what follows them is computed from them alone."""
    more: dict[str, Any] = {}
    """Further arguments of the forward call."""


def plain(ids: Ids) -> Feed:
    """As it should be."""
    return Feed(ids)


class Fault(NamedTuple):
    """A mistake: what it does to a model, and to what it is fed."""

    kind: str
    grade: str
    apply: Callable[[Any], None] = lambda model: None
    feed: Callable[[Ids], Feed] = plain

    @property
    def name(self) -> str:
        """The one name, and that of its file."""
        return f"{self.kind} {self.grade}".strip()


def layers(model: Any) -> Any:
    """The list of decoder layers."""
    return model.get_decoder().layers


def middle(model: Any) -> Any:
    """The layer in the middle."""
    return layers(model)[len(layers(model)) // 2]


# --- attention --------------------------------------------------------------------------------------------


def attention_scale(factor: float, model: Any) -> None:
    for layer in layers(model):
        layer.self_attn.scaling *= factor


def _frequencies(model: Any) -> Iterator[Any]:
    for name, buffer in model.get_decoder().rotary_emb.named_buffers():
        if name.endswith("inv_freq"):
            yield buffer


def rope_theta(factor: float, model: Any) -> None:
    """inv_freq of i is theta^(-2 i / d), so that of a theta times as large is factor^(-2 i / d) times that."""
    for buffer in _frequencies(model):
        places = torch.arange(len(buffer), dtype=torch.float32) / len(buffer)
        buffer.mul_(factor**-places)


def rope_in_bfloat16(model: Any) -> None:
    for buffer in _frequencies(model):
        buffer.copy_(buffer.to(torch.bfloat16).float())


def heads_rolled(model: Any) -> None:
    """The key heads of one layer in another order."""
    attention = middle(model).self_attn
    weight = attention.k_proj.weight
    weight.copy_(weight.reshape(-1, attention.head_dim, weight.shape[-1]).flip(0).reshape(weight.shape))
    if weight.shape[0] == attention.head_dim:  # one key head alone: its two halves change places instead
        weight.copy_(weight.roll(attention.head_dim // 2, 0))


def window(width: int, ids: Ids) -> Feed:
    """Every layer sees the last `width` tokens alone."""
    places = torch.arange(len(ids))
    return Feed(ids, more={"attention_mask": _mask(places[:, None] - places[None, :] < width)})


def unseen(first: int, count: int, ids: Ids) -> Feed:
    """Tokens first … first + count - 1 are in nobody's sight but their own, as if their cache were lost."""
    places = torch.arange(len(ids))
    lost = (places >= first) & (places < first + count)
    return Feed(ids, more={"attention_mask": _mask(~lost[None, :] | (places[:, None] == places[None, :]))})


def forgotten(ids: Ids) -> Feed:
    """The second half of a prompt does not see the first."""
    half = torch.arange(len(ids)) >= len(ids) // 2
    return Feed(ids, more={"attention_mask": _mask(half[:, None] == half[None, :])})


def _mask(seen: Any) -> Any:
    causal = torch.ones_like(seen).tril()
    return (seen & causal)[None, None]


def positions(offset: int, ids: Ids) -> Feed:
    """Positions that jump by `offset` where the second half begins."""
    places = torch.arange(len(ids))
    jumped = (places + offset * (places >= len(ids) // 2))[None]
    # Without a mask transformers takes a jump for the seam between two packed sequences, and hides one from the other.
    return Feed(ids, more={"position_ids": jumped, "attention_mask": _mask(torch.ones(len(ids), len(ids), dtype=bool))})


# --- sizes of numbers -------------------------------------------------------------------------------------


def norm_eps(factor: float, model: Any) -> None:
    for module in model.modules():
        for name in ("variance_epsilon", "eps"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, getattr(module, name) * factor)


def _scaled(factor: float, module: Any, _: Any, output: Any) -> Any:
    return output * factor


def one_mlp(factor: float, model: Any) -> None:
    middle(model).mlp.register_forward_hook(partial(_scaled, factor))


def every_mlp(factor: float, model: Any) -> None:
    for layer in layers(model):
        layer.mlp.register_forward_hook(partial(_scaled, factor))


def embeddings(factor: float, model: Any) -> None:
    model.get_input_embeddings().register_forward_hook(partial(_scaled, factor))


def logits(factor: float, model: Any) -> None:
    model.lm_head.register_forward_hook(partial(_scaled, factor))


# --- weights ----------------------------------------------------------------------------------------------


def norm_not_loaded(model: Any) -> None:
    """One layer's first norm as it was initialised: its factor is 1, which some families store as 0."""
    weight = middle(model).input_layernorm.weight
    weight.fill_(0.0 if "gemma" in model.config.model_type else 1.0)


def query_norm_missing(model: Any) -> None:
    middle(model).self_attn.q_norm = torch.nn.Identity()


def layers_swapped(model: Any) -> None:
    both, half = layers(model), len(layers(model)) // 2
    for name in ("mlp", "self_attn"):
        one, other = getattr(both[half], name), getattr(both[half + 1], name)
        setattr(both[half], name, other)
        setattr(both[half + 1], name, one)


def mlp_missing(model: Any) -> None:
    one_mlp(0.0, model)


def activation(model: Any) -> None:
    """The other member of the family: GELU for SiLU, and its error function for its tangent."""
    for layer in layers(model):
        layer.mlp.act_fn = torch.nn.GELU()


# --- roundings, each a dequantized copy of what is stored -------------------------------------------------


def matrices(model: Any) -> Iterator[Any]:
    """Weights of the layers' linear modules, which quantization is applied to."""
    for layer in layers(model):
        for module in layer.modules():
            if type(module) is torch.nn.Linear:
                yield module.weight


def int8_rows(share: float, model: Any) -> None:
    """Round to nearest in 127 steps a row, in the first `share` of the layers' matrices."""
    every = list(matrices(model))
    for weight in every[: math.ceil(share * len(every))]:
        scale = weight.float().abs().amax(-1, keepdim=True) / 127
        weight.copy_((weight.float() / scale).round() * scale)


def fp8_tensor(model: Any) -> None:
    for weight in matrices(model):
        scale = weight.float().abs().max() / 448
        weight.copy_((weight.float() / scale).to(torch.float8_e4m3fn).float() * scale)


def int4_groups(model: Any) -> None:
    """Round to nearest in groups of 32, 7 steps to each side."""
    for weight in matrices(model):
        groups = weight.float().reshape(-1, 32)
        scale = groups.abs().amax(-1, keepdim=True) / 7
        weight.copy_(((groups / scale).round() * scale).reshape(weight.shape))


def fp8_keys_and_values(model: Any) -> None:
    """Keys, before their rotation, and values as an fp8 cache without scales would keep them."""

    def rounded(module: Any, _: Any, output: Any) -> Any:
        return output.to(torch.float8_e4m3fn).to(output.dtype)

    for layer in layers(model):
        layer.self_attn.k_proj.register_forward_hook(rounded)
        layer.self_attn.v_proj.register_forward_hook(rounded)


# --- the list ---------------------------------------------------------------------------------------------


def faults(config: Any, bos: int | None) -> Sequence[Fault]:
    """All that this architecture can have."""
    found = [
        *(Fault("attention scale", f"x {x}", partial(attention_scale, x)) for x in (0.99, 0.98, 0.97, 0.95, 0.9)),
        *(Fault("RoPE theta", f"x {x}", partial(rope_theta, x)) for x in (1.03, 1.1, 1.3, 2.0)),
        Fault("RoPE frequencies", "in bfloat16", rope_in_bfloat16),
        *(Fault("norm eps", f"x {x:g}", partial(norm_eps, x)) for x in (0.1, 10.0, 100.0)),
        *(Fault("positions from the middle", f"+{x}", feed=partial(positions, x)) for x in (1, 2, 4, 16)),
        *(Fault("one MLP", f"x {x}", partial(one_mlp, x)) for x in (0.97, 0.9, 0.8, 0.5)),
        Fault("one MLP", "missing", mlp_missing),
        *(Fault("every MLP", f"x {x}", partial(every_mlp, x)) for x in (0.995, 0.99, 0.97)),
        *(Fault("embeddings", f"x {x}", partial(embeddings, x)) for x in (1.01, 1.05)),
        *(Fault("logits", f"x {x}", partial(logits, x)) for x in (1.005, 1.01, 1.02, 1.05)),
        *(Fault("window of all layers", f"{x}", feed=partial(window, x)) for x in (120, 96, 64)),
        Fault("lost from the cache", "first token", feed=partial(unseen, 0, 1)),
        *(Fault("lost from the cache", f"{x} tokens", feed=partial(unseen, 32, x)) for x in (1, 4, 16)),
        Fault("lost from the cache", "first half", feed=forgotten),
        Fault("norm weight", "not loaded", norm_not_loaded),
        Fault("two layers", "swapped", layers_swapped),
        Fault("key heads", "in another order", heads_rolled),
        Fault("activation", "of another kind", activation),
        *(Fault("int8 rows", f"in {x:.0%}", partial(int8_rows, x)) for x in (0.1, 0.3, 1.0)),
        Fault("fp8 keys and values", "", fp8_keys_and_values),
        Fault("fp8 weights", "", fp8_tensor),
        Fault("int4 weights", "", int4_groups),
    ]
    if "gemma3" in config.model_type:
        found.append(Fault("query norm", "missing in one layer", query_norm_missing))
        found.append(Fault("BOS", "dropped", feed=lambda ids: Feed(ids[1:], ahead=1)))
    elif bos is not None:
        found.append(Fault("BOS", "one too many", feed=lambda ids: Feed([bos, *ids], skip=1)))
    return found
