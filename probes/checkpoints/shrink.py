"""A published config.json, shrunk in size only: every key stays, and so does every relation that code depends on.

What is a size, and how it shrinks, is told by a key's name. Breakpoints (windows, chunks, original context lengths)
come out shorter than the microscope's prompts, or they would never be exercised. A large number under a name that
nobody here knows is kept and said: a new release may bring one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matrix.cells import Record
from matrix.errors import WrongInput
from matrix.published import MEDIA
from probes.checkpoints import layers
from probes.checkpoints.sizes import (
    HEADS,
    INDEX_HEADS,
    VISION,
    VOCABULARY,
    WINDOW,
    Sizes,
    sizes_of,
)

Config = dict[str, Any]

TEXT_PARTS = ("text_config", "llm_config", "language_config")
LARGE = 256
"""An integer from here on under an unknown name is likely a size that should have shrunk."""

LEFT_OUT = {
    "auto_map": "names code that the checkpoint does not bring",
    "quantization_config": "the weights are plain float32",
    "quantization": "the weights are plain float32",
    "transformers_version": "says who wrote the published file",
    "_name_or_path": "says where the published file lay",
}
"""Keys that would be untrue of a tiny checkpoint, and why."""

NO_EXTRA_LAYERS = ("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers")
"""Layers for multi-token prediction: no reference computes them."""

TOKEN = re.compile(r"\w+_token_(id|index)|(pad|eod|sep|im_(start|end|newline)|text_(start|end)|mask_init)_id")
"""Names of keys that hold the id of a token."""
SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "unk": 3}
FIRST_MEDIA_ID = 4
LAST_MEDIA_ID = 15


class Shrunk(Record, frozen=True, kw_only=True):
    """A config that makes a tiny model."""

    config: Config
    kept_large: tuple[str, ...]
    """`key = value` of numbers that look like sizes and that nothing here knows how to shrink."""
    left_out: tuple[str, ...]
    """`key: why` of what the published file has and this one has not, or has switched off."""
    added: tuple[str, ...]
    """`key: why` of what only this one has."""


def shrink(published: Mapping[str, Any]) -> Shrunk:
    """The config of a tiny model of the same architecture; raises WrongInput for what is no model's config."""
    if not isinstance(published.get("architectures"), list) or not published["architectures"]:
        raise WrongInput("config.json: no `architectures` in it, so nothing says what model this is")
    text_name = _text_name(published)
    text = text_part(published)
    sizes = sizes_of(text)
    work = _Shrinking(sizes)
    config = work.part(published, "", skip=(text_name, *MEDIA))
    for name in MEDIA:
        if isinstance(published.get(name), Mapping):
            config[name] = work.media(published[name], f"{name}.")
        elif name in published:
            config[name] = published[name]
    if text_name:
        config[text_name] = work.part(text, f"{text_name}.")
    config = {key: config[key] for key in published if key in config}
    work.add(text_part(config), "vocab_size", VOCABULARY)
    if text.get("model_type") == "kimi_k2" and text_name:
        work.add(config, "projection_hidden_size", VISION["hidden_size"])
    return Shrunk(
        config=config, kept_large=tuple(work.kept_large), left_out=tuple(work.left_out), added=tuple(work.added)
    )


def text_part(config: Any) -> Config:
    """The part of a config that describes the language model: one inside it, or all of it."""
    name = _text_name(config)
    part: Config = config[name] if name else config
    return part


def _text_name(config: Mapping[str, Any]) -> str | None:
    return next((name for name in TEXT_PARTS if isinstance(config.get(name), Mapping)), None)


class _Shrinking:
    """The rules, applied to one config; remembers what it could not shrink."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.kept_large: list[str] = []
        self.left_out: list[str] = []
        self.added: list[str] = []
        self.media_ids: dict[int, int] = {}

    def add(self, config: Config, key: str, size: int) -> None:
        """Give a config a size that its published file leaves to the class."""
        if key not in config:
            config[key] = size
            self.added.append(f"{key}: a size that the published file leaves to the class")

    def part(self, published: Mapping[str, Any], prefix: str, skip: Sequence[str | None] = ()) -> Config:
        config: Config = {}
        for key, value in published.items():
            if key in skip:
                continue
            if key in LEFT_OUT:
                self.left_out.append(f"{prefix}{key}: {LEFT_OUT[key]}")
            elif isinstance(value, Mapping):
                config[key] = self.part(value, f"{prefix}{key}.")
            else:
                config[key] = self._value(f"{prefix}{key}", key, value)
        return config

    def _value(self, path: str, key: str, value: Any) -> Any:
        if key in NO_EXTRA_LAYERS:
            if value:
                self.left_out.append(f"{path}: no layers for multi-token prediction")
            return 0 if value else value
        if key in ("dtype", "torch_dtype"):
            return "float32"
        if (token := self._token(key, value)) is not None:
            return token
        if isinstance(value, list):
            return self._list(path, key, value)
        if value is None or (isinstance(value, bool | str | float) and not _whole(value)):
            return layers.pattern(key, value, self.sizes)
        return self._number(path, key, value)

    def _number(self, path: str, key: str, value: float) -> Any:
        own = path.split(".")
        parent = own[-2] if len(own) > 1 else ""
        for name, rule in RULES:
            if re.fullmatch(name, f"{parent}.{key}" if "\\." in name else key):
                shrunk = rule(self.sizes, value)
                return type(value)(shrunk) if not isinstance(value, bool) else value
        if isinstance(value, int) and value >= LARGE:
            self.kept_large.append(f"{path} = {value}")
        return value

    def _list(self, path: str, key: str, value: list[Any]) -> Any:
        if key == "mrope_section":
            return self.sizes.sections(value)
        if key in ("long_factor", "short_factor"):
            return self.sizes.spread(value)
        if key == "dense_list":
            return [self.sizes.hidden, *value[1:]]
        shrunk = layers.per_layer(key, value, self.sizes)
        if shrunk and all(type(item) is int for item in shrunk) and not layers.numbers_layers(key):
            return [self._number(path, key, item) for item in shrunk]
        return shrunk

    def _token(self, key: str, value: Any) -> Any:
        """An id below the small vocabulary for what names a token; None where the key names none."""
        found = TOKEN.fullmatch(key)
        if found is None or value is None:
            return None
        if isinstance(value, list):
            return [SPECIAL.get(found[0].partition("_")[0], SPECIAL["eos"])]
        if not isinstance(value, int) or value < 0:
            return value
        if (name := found[0].partition("_")[0]) in SPECIAL:
            return SPECIAL[name]
        return self.media_ids.setdefault(value, min(FIRST_MEDIA_ID + len(self.media_ids), LAST_MEDIA_ID))

    def media(self, published: Mapping[str, Any], prefix: str) -> Config:
        """A vision or audio tower: there because the class demands it, as small as it can be."""
        config: Config = {}
        for key, value in published.items():
            if isinstance(value, Mapping):
                config[key] = self.media(value, f"{prefix}{key}.")
            elif key in ("dtype", "torch_dtype"):
                config[key] = "float32"
            elif key in VISION:
                config[key] = type(value)(VISION[key]) if value is not None else None
            elif key in ("out_hidden_size", "output_proj_dims", "text_hidden_size", "projector_output_dim"):
                config[key] = self.sizes.hidden
            else:
                config[key] = layers.media_list(key, value)
                if isinstance(value, int) and value >= LARGE and key != "rope_theta":
                    self.kept_large.append(f"{prefix}{key} = {value}")
        for name in [key.removeprefix("vt_") for key in published if key.startswith("vt_")]:
            self.added.append(f"{prefix}{name}: transformers reads the size of the tower under this name")
            config[name] = VISION[name]
        return config


def _whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and value >= LARGE


Rule = Callable[[Sizes, Any], Any]


def _same(number: int) -> Rule:
    return lambda sizes, value: min(int(value), number) if value else value


RULES: tuple[tuple[str, Rule], ...] = (
    # Nested first: `parent.key`.
    (r"linear_attn_config\.head_dim", _same(32)),
    (r"linear_attn_config\.num_heads", _same(HEADS)),
    # Widths.
    (r"hidden_size|d_model|n_embd|block_dim|conv_dim|conv_dim_out|dim|backbone_hidden_size", Sizes.width),
    (r"(?:dense_|moe_|expert_|shared_|shared_expert_|moe_shared_expert_|mlp_)?intermediate_size", Sizes.width),
    (r"intermediate_size_mlp|block_ff_dim|expert_hidden_dim|share_expert_dim|d_inner|mamba_d_ssm|n_inner", Sizes.width),
    (r"hidden_size_per_layer_input|moe_latent_size|routed_expert_hidden_size", _same(64)),
    (r"block_multiple_of", _same(32)),
    (r"projector_hidden_size", _same(64)),
    (r"out_hidden_size", _same(4 * 64)),  # of a tower whose two by two patches are merged
    (r"q_lora_rank|o_lora_rank", _same(96)),
    (
        r"kv_lora_rank",
        lambda sizes, value: value,
    ),  # with the rotary part, what kernels of latent attention are made for
    # Heads.
    (r"(?:swa_)?num_attention_heads(?:_per_layer)?|num_heads|n_head", Sizes.heads),
    (r"num_key_value_heads|num_global_key_value_heads|n_head_kv", Sizes.kv_heads),
    (r"swa_num_key_value_heads", Sizes.swa_kv_heads),
    (r"attention_head_dim", Sizes.attention_head),
    (r"(?:swa_|global_)?head_dim|(?:swa_)?v_head_dim|qk_(?:nope_|rope_)?head_dim", Sizes.head),
    (r"attn_rotary_emb|rotary_dim", Sizes.rotary),
    (r"query_pre_attn_scalar", Sizes.query_scale),
    (r"index_head_dim|sparse_index_dim", _same(128)),
    (r"index_n_heads|sparse_num_index_heads", _same(INDEX_HEADS)),
    (r"o_groups", _same(2)),
    # Recurrent layers.
    (r"linear_num_key_heads", Sizes.linear_key_heads),
    (r"linear_num_value_heads", _same(HEADS)),
    (r"linear_key_head_dim|linear_value_head_dim", Sizes.linear_head),
    (r"mamba_n_heads|mamba_num_heads", Sizes.mamba_heads),
    (r"mamba_d_head|mamba_head_dim", _same(32)),
    (r"mamba_d_state|ssm_state_size|state_size", _same(32)),
    (r"mamba_dt_rank|time_step_rank", _same(8)),
    (r"n_groups|mamba_n_groups", _same(2)),
    (r"mamba_chunk_size|chunk_size", _same(16)),
    # Experts.
    (r"num_experts|num_local_experts|n_routed_experts|moe_num_experts", Sizes.experts),
    (r"num_experts_per_tok(?:en)?|experts_per_token|top_k_experts|moe_k|moe_topk", Sizes.chosen),
    (r"n_group|num_expert_groups?", _same(4)),
    (r"topk_group|num_limited_groups", _same(2)),
    # Counts of layers.
    (r"num_hidden_layers|n_layers?", lambda sizes, value: sizes.layers),
    (r"num_kv_shared_layers", lambda sizes, value: sizes.shared_layers),
    (r"max_window_layers|moe_layer_end_index", lambda sizes, value: min(int(value), sizes.layers)),
    (r"num_hash_layers", _same(1)),
    # Breakpoints.
    (r"sliding_window(?:_size)?", Sizes.window),
    (r"attention_chunk_size", _same(128)),  # a multiple of the blocks of engines' KV caches
    (r"index_topk", _same(WINDOW)),
    (r"compress_ratios", lambda sizes, value: value),  # kinds of layer by the number, and no sizes
    (r"sparse_block_size", _same(8)),
    (r"sparse_topk_blocks", _same(2)),
    (r"original_max_position_embeddings|initial_context_length", Sizes.original),
    (r"max_position_embeddings|model_max_length|max_sequence_length|seq_length|n_positions", Sizes.longest),
    # The vocabulary.
    (r"vocab_size|vocab_size_per_layer_input|org_vocab_size", lambda sizes, value: VOCABULARY if value else value),
    (r"num_centroids", _same(16)),
    (r"mm_tokens_per_image|vision_soft_tokens_per_image", _same(4)),
    # Not sizes, however large.
    (
        r"rope_theta|\w*_rope_theta|rope_local_base_freq|alpha|boi_token_index|top_k|max_length",
        lambda sizes, value: value,
    ),
)
"""Names of keys and what becomes of their numbers; the first that matches holds."""
