"""Where an architecture changes what it does with length: read from a checkpoint's config."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEYS = re.compile(
    r"sliding_window(?:_size)?|window_size|attention_chunk_size|(?:mamba_)?chunk_size"
    r"|original_max_position_embeddings|initial_context_length|index_topk|floor_scale"
)
"""Attention windows and chunks, the scan's chunks of recurrent layers, the context that RoPE was scaled from, the keys
that sparse attention chooses, and the step of an attention temperature."""

OTHER_MEDIA = re.compile(r"vision|audio|image|video|speech|talker|code2wav")
"""Parts of a config that no text goes through."""


def of_checkpoint(folder: Path) -> dict[int, str]:
    """Lengths in tokens, ascending, and the keys that name them; empty where there is no config."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found: dict[int, list[str]] = {}
    for key, length in _lengths(config):
        found.setdefault(length, []).append(key)
    return {length: ", ".join(dict.fromkeys(found[length])) for length in sorted(found)}


def _lengths(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        if isinstance(value, dict) and not OTHER_MEDIA.search(key):
            yield from _lengths(value)
        if not KEYS.fullmatch(key) or (key == "sliding_window" and config.get("use_sliding_window") is False):
            continue
        if isinstance(value, int) and not isinstance(value, bool) and value > 1:
            yield key, value
