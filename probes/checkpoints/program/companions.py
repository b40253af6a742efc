"""Small files of a published repository that engines read before they serve, beside weights and tokenizer.

Text alone is asked for here, yet a class with parts for other media is served through its processor: an engine without
one does not start. What is in these files beyond the names of classes is transformers' own defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from .tokenizer import SPECIAL

MEDIA = "<media"
NAMED = re.compile(r"(\w+_token)_(?:id|index)")
PATCHES = ("patch_size", "merge_size", "temporal_patch_size")
"""Sizes that a processor of images and the tower behind it must agree on."""


def write_defaults_of_generation(folder: Path) -> None:
    """generation_config.json: where there is none, transformers takes keys of config.json for options of its own."""
    ids = {
        f"{name}_token_id": SPECIAL.index(token) for name, token in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>"))
    }
    _write(folder / "generation_config.json", ids)


def write_processors(folder: Path, config: Mapping[str, Any], model_type: str, more: Mapping[str, Any]) -> None:
    """processor_config.json and preprocessor_config.json, as newer and older files are called and laid out.

    `more` are keys about images that transformers' class has not. Nothing is written for a class of text alone.
    """
    processor = PROCESSOR_MAPPING_NAMES.get(model_type)
    if processor is None:
        return
    tower = config.get("vision_config") or {}
    images = {name: tower[name] for name in PATCHES if name in tower}
    if kind := IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type, {}).get("torchvision"):
        images["image_processor_type"] = kind
    images |= more
    sounds = {}
    if kind := FEATURE_EXTRACTOR_MAPPING_NAMES.get(model_type):
        sounds["feature_extractor_type"] = kind
    parts = {"image_processor": images} | ({"feature_extractor": sounds} if sounds else {})
    _write(folder / "processor_config.json", {"processor_class": processor, **parts})
    _write(folder / "preprocessor_config.json", {"processor_class": processor, **images, **sounds})


def media_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The tokens of other media by the names under which a processor asks its tokenizer for them."""
    found: dict[str, str] = {}
    for key, value in config.items():
        named = NAMED.fullmatch(key)
        if named and isinstance(value, int) and 0 <= value < len(SPECIAL) and SPECIAL[value].startswith(MEDIA):
            found[named[1]] = SPECIAL[value]
    if "media_placeholder_token" in found:  # Kimi's config calls by this name what its processor calls an image's
        found.setdefault("image_token", found["media_placeholder_token"])
    return found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))
