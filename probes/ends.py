"""The tokens at which a model ends, and engines that never choose one where a fixed number of tokens is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from matrix.results import Table
from probes.noise_floor import Ints, TokenLogprobs
from runners.engine import Server

NEVER_CHOSEN = "never_chosen"
"""In a table of generated sequences, [S, E]: ids that the engine had no choice of, and -1 where there are fewer."""

CONFIGS = ("generation_config.json", "config.json")
"""Where a checkpoint names its ends; the first that names any counts."""


def never_chosen(server: Server, sequences: int) -> Table:
    """For the table of so many generated sequences; empty for an engine that chooses an end like any other token."""
    found = of_checkpoint(server.model_path) if server.engine.masks_ends else ()
    return {NEVER_CHOSEN: np.tile(np.array(found, dtype=np.int64), (sequences, 1))} if found else {}


def without(run: TokenLogprobs, never: Ints) -> TokenLogprobs:
    """A run of S sequences that does not list the ids never[s, :] of each, [S, E]."""
    masked = (run.top_ids[..., None] == never[:, None, None, :]).any(axis=-1)
    return msgspec.structs.replace(
        run,
        top_ids=np.where(masked, -1, run.top_ids),
        top_logprobs=np.where(masked, np.nan, run.top_logprobs),
    )


def of_checkpoint(folder: Path) -> tuple[int, ...]:
    """The ids at which a checkpoint's model ends, ascending; none where it does not say."""
    for name in CONFIGS:
        path = folder / name
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if found := _ends(config) or _ends(config.get("text_config") or {}):
            return found
    return ()


def _ends(config: dict[str, Any]) -> tuple[int, ...]:
    named = config.get("eos_token_id")
    listed = named if isinstance(named, list) else [named]
    return tuple(sorted({end for end in listed if isinstance(end, int)}))
