"""Fields of the configuration that are ignored, left at a default, or off by one.

The model is built anew of the changed configuration, as an engine would build it that read the file so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from .hand import Change, Hand

FAR = 4096
"""A window that no prompt of ours fills."""
SWITCHES = (
    "rope_interleave",
    "norm_before_gate",
    "mamba_norm_before_gate",
    "linear_allow_neg_eigval",
    "attn_temperature_tuning",
    "mup_enabled",
)
LONGEST = 150
"""Windows that a prompt fills with room to spare."""


def field(name: str, value: Any, why: str, same: str = "") -> Change:
    """Another value of one field."""
    return Change(
        f"{name}: {why}", config=lambda hand, config: hand.value(config, name, value), same=same
    )  # fmt: skip


def numbers(config: Any, pattern: str) -> Iterator[tuple[str, Any]]:
    """Fields whose name a pattern finds and whose value is a number."""
    for name, value in config.to_dict().items():
        if re.search(pattern, name) and isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, value


def norm_eps(subject: Any) -> Iterator[Change]:
    for name, value in numbers(subject.config, r"(norm|layer_norm)_eps(ilon)?$"):
        yield field(name, value * 10, f"{value * 10:g} for {value:g}")
        yield field(name, value / 10, f"{value / 10:g} for {value:g}")


def window_size(subject: Any) -> Iterator[Change]:
    for name, value in windows(subject.config):
        yield field(name, value + 1, "one too many")
        yield field(name, value - 1, "one too few")


def window_off(subject: Any) -> Iterator[Change]:
    for name, _ in windows(subject.config):
        yield field(name, FAR, "ignored")


def windows(config: Any) -> list[tuple[str, int]]:
    """Widths of windows and chunks that prompts are longer than."""
    kinds = set(getattr(config, "layer_types", None) or [])
    found = [*numbers(config, r"^sliding_window$"), *numbers(config, r"^attention_chunk_size$")]
    used = not kinds or any("sliding" in kind or "chunked" in kind for kind in kinds)
    return [(name, value) for name, value in found if used and value < LONGEST]


def window_layers(subject: Any) -> Iterator[Change]:
    kinds = list(getattr(subject.config, "layer_types", None) or [])
    if getattr(subject.config, "global_head_dim", None):
        return  # layers of the two kinds differ in shape, and cannot be taken for each other
    attended = [number for number, kind in enumerate(kinds) if "linear" not in kind and "attention" in kind]
    names = [kinds[number] for number in attended]
    if len(set(names)) < 2 or not any("sliding" in name or "chunked" in name for name in names):
        return
    for turn in (1, -1):
        rolled = dict(zip(attended, names[-turn:] + names[:-turn], strict=True))
        moved = [rolled.get(number, kind) for number, kind in enumerate(kinds)]
        if moved != kinds:
            yield field("layer_types", moved, f"moved by {turn} layer")


def rope_less_layers(subject: Any) -> Iterator[Change]:
    found = list(getattr(subject.config, "no_rope_layers", None) or [])
    if len(set(found)) > 1:
        yield field("no_rope_layers", [1] * len(found), "ignored")
        yield field("no_rope_layers", found[-1:] + found[:-1], "moved by a layer")


def soft_cap(subject: Any) -> Iterator[Change]:
    for name, value in numbers(subject.config, r"softcap"):
        yield field(name, None, "ignored")
        yield field(name, value * 1.1, "a tenth too large")


def multiplier(subject: Any) -> Iterator[Change]:
    for name, value in subject.config.to_dict().items():
        if not re.search(r"multiplier|logits_scaling|logit_scale|residual_scale|embedding_scale", name):
            continue
        if isinstance(value, float) and value != 1.0:
            yield field(name, 1.0, "ignored")
        if isinstance(value, list) and set(value) != {1.0}:
            yield field(name, [1.0] * len(value), "ignored")


def switch(subject: Any) -> Iterator[Change]:
    without_norm = getattr(subject.config, "mamba_rms_norm", True) is False
    for name, value in subject.config.to_dict().items():
        if name in SWITCHES and isinstance(value, bool):
            idle = without_norm and name == "mamba_norm_before_gate"
            same = "its Mamba layers have no norm (mamba_rms_norm = false)" if idle else ""
            yield field(name, not value, f"{not value} for {value}", same=same)


def activation_limit(subject: Any) -> Iterator[Change]:
    for name, value in numbers(subject.config, r"swiglu_(limit|alpha)|_limit$|softplus|clamp"):
        yield field(name, value * 1.05, "a twentieth too large", same="no number comes near the limit")


def query_scale(subject: Any) -> Iterator[Change]:
    for name, value in numbers(subject.config, r"query_pre_attn_scalar|attention_multiplier"):
        heads, width = subject.config.num_attention_heads, subject.config.hidden_size
        head = getattr(subject.config, "head_dim", None) or width // heads
        plain = head if "scalar" in name else head**-0.5
        other = plain if abs(plain / value - 1) > 1e-6 else value * 1.05
        yield field(name, other, "the head's width" if other == plain else "a twentieth too large")


# --- RoPE -------------------------------------------------------------------------------------------------


def ropes(config: Any) -> list[tuple[str, dict[str, Any]]]:
    """The tables of rotary parameters, one for all layers or one for each kind of them."""
    table = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" in table:
        return [("", table)]
    return [(name, one) for name, one in table.items() if isinstance(one, dict)]


def entry(kind: str, name: str, value: Any, why: str, same: str = "") -> Change:
    """Another value of one rotary parameter."""

    def change(hand: Hand, config: Any) -> None:
        table = dict(ropes(config))[kind]
        hand.entry(table, name, value)

    return Change(f"{kind} {name}: {why}".strip(), config=change, same=same)


def rope_theta(subject: Any) -> Iterator[Change]:
    for kind, table in ropes(subject.config):
        value = table.get("rope_theta")
        if value and subject.rotates:
            yield entry(kind, "rope_theta", value * 1.01, "a hundredth too large")
            if value != 10000:
                yield entry(kind, "rope_theta", type(value)(10000), "left at 10000")


def rope_scaling(subject: Any) -> Iterator[Change]:
    for kind, table in ropes(subject.config):
        if table.get("rope_type", "default") != "default" and subject.rotates:
            yield entry(kind, "rope_type", "default", "scaling ignored")
            for name in ("factor", "low_freq_factor", "beta_fast", "mscale_all_dim"):
                if table.get(name):
                    yield entry(kind, name, table[name] * 1.5, "half as much again")


def rope_lists(subject: Any) -> Iterator[Change]:
    for kind, table in ropes(subject.config):
        if "long_factor" in table:
            yield entry(kind, "long_factor", table["short_factor"], "the short one's")
        if table.get("original_max_position_embeddings") and subject.rotates:
            yield Change(
                f"{kind} original_max_position_embeddings: twice as much".strip(), config=partial(_original, kind=kind)
            )


def _original(hand: Hand, config: Any, kind: str) -> None:
    name = "original_max_position_embeddings"
    table = dict(ropes(config))[kind]
    hand.entry(table, name, 2 * table[name])
    if hasattr(config, name):  # LongRoPE reads the number beside the table
        hand.value(config, name, 2 * getattr(config, name))


def partial_rotary(subject: Any) -> Iterator[Change]:
    for kind, table in ropes(subject.config):
        value = table.get("partial_rotary_factor")
        if value and value < 1 and subject.rotates and "long_factor" not in table:  # a list of that very length
            yield entry(kind, "partial_rotary_factor", 1.0, "ignored")
            yield entry(kind, "partial_rotary_factor", value / 2, "half as much")
