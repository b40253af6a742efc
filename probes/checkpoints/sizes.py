"""The sizes of a tiny model, and the relations between them that a published model has and code depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matrix.cells import Record
from probes.checkpoints import layers

HEADS = 4
INDEX_HEADS = 16
"""Of a lightning indexer. Its scores are sums of rectified products: with few heads many are exactly nought, and which
of those are among the chosen is an accident that right engines differ in."""
EXPERTS, GROUPED_EXPERTS = 8, 16
VOCABULARY = 128
WINDOW = 24
ORIGINAL = 32
"""Positions that a scaled RoPE was trained on."""
LONGEST = 1024
LEAST_HIDDEN = 128
LEAST_WIDTH, WIDTH_STEP = 64, 32
HEAD_STEP = 32
"""Attention kernels of CPUs and GPUs alike take heads of 32, 64, 96, 128 and 256."""

VISION: dict[str, Any] = {
    "hidden_size": 64,
    "vt_hidden_size": 64,
    "mm_hidden_size": 64,
    "qkv_hidden_size": 64,
    "intermediate_size": 64,
    "vt_intermediate_size": 64,
    "num_attention_heads": 2,
    "vt_num_attention_heads": 2,
    "num_heads": 2,
    "num_key_value_heads": 2,
    "num_query_groups": 1,
    "head_dim": 32,
    "global_head_dim": 32,
    "num_hidden_layers": 2,
    "vt_num_hidden_layers": 2,
    "depth": 2,
    "image_size": 56,
    "patch_size": 14,
    "max_position_embeddings": 64,
    "num_position_embeddings": 16,
    "position_embedding_size": 64,
    "init_pos_emb_height": 4,
    "init_pos_emb_width": 4,
    "pos_emb_height": 4,
    "pos_emb_width": 4,
    "vision_output_dim": 64,
    "projector_input_dim": 64,
    "input_local_dim": 64,
    "input_local_head_dim": 32,
    "input_local_attn_heads": 2,
    "input_local_intermediate_size": 64,
    "input_local_layers": 2,
    "audio_segment_size": 64,
    "default_output_length": 4,
}
"""Of a tower that is built and never run."""


class Sizes(Record, frozen=True, kw_only=True):
    """What one published config has become; its methods map that config's numbers."""

    published: dict[str, Any]
    """The text part."""
    hidden: int
    layers: int
    shared_layers: int
    """At the end, using the keys and values of layers before them."""

    def get(self, *names: str) -> Any:
        """The published value under the first of the names that there is."""
        return next((self.published[name] for name in names if self.published.get(name) is not None), None)

    def width(self, value: int) -> int:
        """A width in proportion to the hidden size, between a least one and twice the hidden size."""
        if not value:
            return value
        steps = round(value / published_hidden(self.published) * self.hidden / WIDTH_STEP)
        return max(LEAST_WIDTH, min(steps * WIDTH_STEP, 2 * self.hidden))

    def heads(self, value: int) -> int:
        """Four, or six where layers differ and this one has more."""
        per_layer = self.published.get("num_attention_heads_per_layer")
        more = isinstance(per_layer, list) and value > min(per_layer)
        return HEADS + 2 if more else min(HEADS, value)

    def kv_heads(self, value: int) -> int:
        """One, two or as many as heads: multi-query, grouped or plain attention, as published."""
        if value == 1:
            return 1
        return self.heads(value) if value == self.get("num_attention_heads", "n_head") else 2

    def swa_kv_heads(self, value: int) -> int:
        """In the published proportion to those of full layers: transformers computes MiMo's from them."""
        published = self.get("num_key_value_heads")
        return value * self.kv_heads(published) // published if published else self.kv_heads(value)

    def head(self, value: int) -> int:
        """Half, in steps that kernels take; as published where keys are compressed: those kernels take no other."""
        return value if self.get("kv_lora_rank", "qk_rope_head_dim") is not None else head(value)

    def attention_head(self, value: int) -> int:
        """As published where it stands alone: transformers does not read Nemotron-H's, and takes 128."""
        return self.head(value) if self.get("head_dim") is not None else value

    def rotary(self, value: int) -> int:
        """In proportion to the head, where it is part of one or all of it."""
        published = self.get("head_dim") or published_head(self.published)
        return value * head(published) // published if value <= published else value

    def query_scale(self, value: int) -> int:
        """A head's width, or that of the residual for each head, as published."""
        of_residual = value == published_head(self.published) != self.get("head_dim")
        return self.hidden // self.heads(self.published["num_attention_heads"]) if of_residual else self.rotary(value)

    def window(self, value: int | None) -> int | None:
        """Shorter than the prompts; one that no position reaches in the published model still reaches none."""
        positions = self.get("max_position_embeddings")
        unreached = positions is not None and value is not None and value >= positions
        return min(value, WINDOW) if value and not unreached else value

    def linear_key_heads(self, value: int) -> int:
        """Fewer than value heads where the published model has fewer."""
        return HEADS if value == self.get("linear_num_value_heads") else 2

    def linear_head(self, value: int) -> int:
        """32, and twice that for a value head twice as wide as a key head."""
        return 64 if value > min(self.get("linear_key_head_dim") or value, value) else 32

    def mamba_heads(self, value: int) -> int:
        """As many heads of 32 as fill the inner width, where they do so in the published model."""
        head_dim = self.get("mamba_d_head", "mamba_head_dim") or 1
        expand = self.get("mamba_expand", "expand") or 2
        inner = self.get("mamba_d_ssm") or expand * published_hidden(self.published)
        if value * head_dim != inner:
            return 2 * HEADS
        width = self.width(self.get("mamba_d_ssm")) if self.get("mamba_d_ssm") else expand * self.hidden
        return int(width) // 32

    def experts(self, value: int) -> int:
        """Eight, or sixteen in four groups."""
        return min(value, GROUPED_EXPERTS if self._grouped else EXPERTS)

    def chosen(self, value: int) -> int:
        """Two of the experts, or four of those in chosen groups."""
        return min(value, 4 if self._grouped else 2)

    @property
    def _grouped(self) -> bool:
        return (self.get("n_group", "num_expert_group", "num_expert_groups") or 1) > 1

    def original(self, value: int) -> int:
        """Fewer positions than a prompt has."""
        return min(value, ORIGINAL)

    def longest(self, value: int) -> int:
        """In the same proportion to the original length where that is what extends it, else enough for a prompt.

        As published beside a RoPE that is stretched by a factor of its own (HunYuan's alpha): nothing depends on it
        there, and llama.cpp's converter takes no other.
        """
        if (self.get("rope_scaling") or {}).get("alpha"):
            return value
        original = _original_length(self.published)
        if original and value % original == 0 and value > original and value // original <= LONGEST // ORIGINAL:
            return max(ORIGINAL * (value // original), 4 * ORIGINAL)
        return min(value, LONGEST)

    def sections(self, value: Sequence[int]) -> list[int]:
        """Parts of a rotary half, for as many kinds of position, in the published proportion."""
        half = self._rotary_half(sum(value))
        parts = [half * item // sum(value) for item in value]
        parts[0] += half - sum(parts)
        return parts

    def _rotary_half(self, published_half: int) -> int:
        published = self.get("head_dim") or published_head(self.published)
        return published_half * head(published) // published

    def spread(self, value: Sequence[float]) -> list[float]:
        """As many factors as a rotary half has now, evenly out of the published ones."""
        count = self._rotary_half(len(value))
        return [value[place * len(value) // count] for place in range(count)]


def sizes_of(text: Mapping[str, Any]) -> Sizes:
    """The sizes that a published text part shrinks to."""
    if not text.get("num_attention_heads"):
        cover, shared = layers.cover(text)
        return Sizes(published=dict(text), hidden=LEAST_HIDDEN, layers=cover, shared_layers=shared)
    heads = min(text["num_attention_heads"], HEADS)
    published = text.get("head_dim") or published_head(text)
    whole = heads * head(published)
    fits = published * text["num_attention_heads"] == published_hidden(text)
    # A head that is not hidden / heads must stay so: code that computes it from the two would go unnoticed.
    hidden = whole if fits else LEAST_HIDDEN if whole != LEAST_HIDDEN else 192
    cover, shared = layers.cover(text)
    return Sizes(published=dict(text), hidden=max(hidden, LEAST_HIDDEN), layers=cover, shared_layers=shared)


def published_hidden(text: Mapping[str, Any]) -> int:
    """The residual width."""
    return int(next((text[name] for name in ("hidden_size", "d_model", "n_embd") if text.get(name)), 1024))


def published_head(text: Mapping[str, Any]) -> int:
    """Width of a head where the config does not say it."""
    return published_hidden(text) // int(text.get("num_attention_heads") or text.get("n_head") or 1)


def head(value: int) -> int:
    """Half a head's width, down to a step, 32 at least."""
    return max(HEAD_STEP, value // 2 // HEAD_STEP * HEAD_STEP)


def _original_length(text: Mapping[str, Any]) -> int:
    places = (text, text.get("rope_scaling") or {}, text.get("rope_parameters") or {})
    name = "original_max_position_embeddings"
    return next((int(place[name]) for place in places if isinstance(place, Mapping) and place.get(name)), 0)
