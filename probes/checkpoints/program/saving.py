"""Writing the weights under the names that the published files have, and reading them back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def save(model: Any, folder: Path, names: Mapping[str, str]) -> None:
    """Write the weights; raises ValueError where transformers reads back something else than was drawn.

    transformers writes the names it reads, by turning its rules around; where that gives other names than the published
    ones, `names` (pattern to replacement) puts them right.
    """
    model.save_pretrained(folder, max_shard_size="1TB")
    if names:
        path = folder / WEIGHTS
        save_file({_published(key, names): value for key, value in load_file(path).items()}, path, {"format": "pt"})
    _read_back(model, folder)


def _published(name: str, names: Mapping[str, str]) -> str:
    for pattern, replacement in names.items():
        name = re.sub(pattern, replacement, name)
    return name


def _read_back(model: Any, folder: Path) -> None:
    again, found = type(model).from_pretrained(
        folder, config=model.config, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    lost = [str(name) for kind in ("missing_keys", "unexpected_keys") for name in sorted(found[kind])]
    own, other = model.state_dict(), again.state_dict()
    lost += [name for name in own.keys() & other.keys() if not torch.equal(own[name], other[name])]
    if lost:
        raise ValueError(f"transformers does not read back what it wrote: {', '.join(lost[:5])} ({len(lost)} in all)")
