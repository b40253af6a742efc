"""The program's one command."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from . import companions, tokenizer
from .architecture import UnknownArchitecture, fresh_model, read_config
from .audit import STEADY, amplified, effect, silent_tensors
from .calibrate import calibrate
from .draw import SPECIAL_TOKENS, draw_all, generator, tensors
from .saving import save

SEQUENCES, LENGTH = 8, 160
CALIBRATED = 2
"""Of the sequences; the others only look for choices that are nearly ties."""
ATTEMPTS = 8
LONGEST = 1024
"""Positions of a model that sets no limit."""


def make(
    folder: Path, config: dict[str, Any], names: dict[str, str], name: str, processor: dict[str, Any]
) -> dict[str, Any]:
    """Write the checkpoint into `folder` and return its record; raises UnknownArchitecture."""
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    known = read_config(folder)
    model = fresh_model(known, config["architectures"][0])
    defaults = {key: tensor.detach().clone() for key, _, tensor in tensors(model)}
    ids = sample_ids(name, int(known.get_text_config().vocab_size))
    for attempt in range(ATTEMPTS):
        draw_all(model, known, f"{name} {attempt}", defaults)
        found = calibrate(model, ids[:CALIBRATED], defaults)
        _round(model)
        moved = amplified(model, ids)
        if moved <= STEADY:
            break
    else:
        raise ValueError(
            f"none of {ATTEMPTS} draws is steady: a millionth at the input moves the output by {moved:.1e}"
        )
    record = {
        "class": type(model).__name__,
        "parameters": sum(tensor.numel() for _, _, tensor in tensors(model)),
        "transformers": str(transformers.__version__),
        "measured": {**found, **effect(model, ids), "amplified": moved, "attempt": attempt},
        "silent": silent_tensors(model, ids[:CALIBRATED], defaults),
    }
    save(model, folder, names)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    longest = int(getattr(known.get_text_config(), "max_position_embeddings", None) or LONGEST)
    tokenizer.write(folder, longest, companions.media_tokens(config))
    companions.write_defaults_of_generation(folder)
    companions.write_processors(folder, config, known.model_type, processor)
    return record


def sample_ids(name: str, vocabulary: int) -> torch.Tensor:
    """[SEQUENCES, LENGTH] of plain tokens to calibrate and to audit with."""
    drawn = generator(name, "ids").integers(SPECIAL_TOKENS, vocabulary - 1, (SEQUENCES, LENGTH))
    return torch.from_numpy(np.ascontiguousarray(drawn))


def _round(model: Any) -> None:
    """To numbers that bfloat16 can hold, so that the same checkpoint serves in either dtype."""
    for _, _, tensor in tensors(model):
        if tensor.dtype == torch.float32:
            tensor.copy_(tensor.to(torch.bfloat16).float())


def main(arguments: Sequence[str]) -> int:
    """Make one checkpoint; 0, or 2 with one line on stderr for a config that transformers cannot build."""
    parser = argparse.ArgumentParser(prog="program")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--names", type=Path, help="JSON: patterns in tensors' names, and what is published instead")
    parser.add_argument("--processor", type=Path, help="JSON: more keys of preprocessor_config.json")
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        with torch.no_grad():
            names = json.loads(options.names.read_text()) if options.names else {}
            processor = json.loads(options.processor.read_text()) if options.processor else {}
            config = json.loads(options.config.read_text())
            record = make(options.out, config, names, options.name, processor)
    except UnknownArchitecture as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    record["seconds"] = round(time.monotonic() - started, 1)
    (options.out / "checkpoint.json").write_text(json.dumps(record, indent=2))
    return 0
