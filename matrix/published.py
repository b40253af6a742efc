"""By which keys a published config.json says what it says, and how names become ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LENGTHS = ("max_position_embeddings", "model_max_length", "max_sequence_length", "max_seq_len", "n_positions", "n_ctx")
"""Of the context length."""
DTYPE = ("dtype", "torch_dtype")
"""Of the dtype: in newer configs, and in older ones."""
MEDIA = ("vision_config", "audio_config")
"""Of parts that are not about text."""


def has_media(config: Mapping[str, Any]) -> bool:
    """Whether there are parts that are not about text."""
    return any(isinstance(config.get(part), Mapping) for part in MEDIA)


def word(text: str) -> str:
    """A stranger's text as a part of an id; empty where there is no letter and no digit in it."""
    found = re.sub(r"[^a-z0-9.]+", "-", text.lower())
    return re.sub(r"[.-]{2,}", "-", found).strip(".-")
