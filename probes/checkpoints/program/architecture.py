"""The class that a config asks for, with transformers' own initial weights."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)


class UnknownArchitecture(ValueError):
    """transformers has no class for the config."""


def read_config(folder: Path) -> Any:
    """transformers' configuration of the config.json in `folder`; UnknownArchitecture where it has none.

    A published file may name a model type of its own for a class that transformers knows under another.
    """
    given = json.loads((folder / "config.json").read_text())
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except ValueError as error:
        named = getattr(transformers, given["architectures"][0], None)
        if named is None or getattr(named, "config_class", None) is None:
            first = str(error).strip().splitlines()[0]
            raise UnknownArchitecture(f"transformers {transformers.__version__}: {first}") from error
        config = named.config_class.from_pretrained(folder, local_files_only=True)
        config.model_type = named.config_class.model_type  # by which tensors get their published names
        return config


def model_class(config: Any, named: str) -> Any:
    """The class that the published file names, or the one that transformers has for its model type."""
    found = (
        named,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(config.model_type),
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type),
    )
    for name in found:
        if name and (known := getattr(transformers, name, None)) is not None and _takes(known, config):
            return known
    raise UnknownArchitecture(f"transformers {transformers.__version__} has no class for {named}")


def _takes(known: Any, config: Any) -> bool:
    wanted = getattr(known, "config_class", None)
    return inspect.isclass(wanted) and isinstance(config, wanted)


def fresh_model(config: Any, named: str) -> Any:
    """The model with its default weights, in float32, with the plainest of everything."""
    torch.manual_seed(0)
    made = model_class(config, named)._from_config(
        config, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    )
    return made.eval()
