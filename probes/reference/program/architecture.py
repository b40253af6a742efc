"""Which of transformers' classes a checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def adopt(folder: Path) -> None:
    """Teach transformers a model type that it has no name for, where config.json names a class that it has.

    Kimi K2 is published as a DeepseekV3ForCausalLM of model type kimi_k2. Custom code beside it is never run.
    """
    import transformers
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        register_checkpoint_conversion_mapping,
    )

    kind, name = model_type(folder), _named_class(folder)
    if kind is None or kind in CONFIG_MAPPING or name is None:
        return
    known: Any = getattr(transformers, name, None)
    base: Any = getattr(known, "config_class", None)
    if base is None:
        return
    own = type(base.__name__, (base,), {"model_type": kind})
    AutoConfig.register(kind, own)
    # How published tensors become the class's (experts in stacks, other names) goes by the model type.
    if (mapping := get_checkpoint_conversion_mapping(base.model_type)) is not None:
        register_checkpoint_conversion_mapping(kind, mapping)
    # exist_ok: both keep transformers' own names, which is how it checks that they belong together.
    AutoModelForCausalLM.register(own, type(name, (known,), {"config_class": own}), exist_ok=True)


def auto_class(config: Any) -> Any:
    """The automatic class that makes a text model of a config: the causal one, or the one that also takes images."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForCausalLM if type(config) in AutoModelForCausalLM._model_mapping else AutoModelForImageTextToText


def model_type(folder: Path) -> str | None:
    """The kind of model that the configuration names, if it names one."""
    kind = _config(folder).get("model_type")
    return kind if isinstance(kind, str) else None


def _named_class(folder: Path) -> str | None:
    names = _config(folder).get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}
