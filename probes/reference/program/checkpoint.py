"""Which tensors a checkpoint has and where they lie, by the headers of its safetensors files.

Format of a file: 8 bytes of length (little-endian), a JSON header of that length, then the tensors' bytes
(github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import InputError

INDEX = "model.safetensors.index.json"
LENGTH_BYTES = 8
HEADER_LIMIT = 100_000_000
"""The format's own limit for a header."""

DTYPES: Mapping[str, Any] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class Stored(NamedTuple):
    """One tensor where it lies."""

    name: str
    shard: Path
    dtype: Any
    shape: tuple[int, ...]
    start: int
    """Byte of the file."""
    size: int
    """Bytes."""

    def part(self, index: int) -> Stored:
        """Member `index` of the first dimension, with that dimension kept: [1, ...]."""
        size = self.size // self.shape[0]
        return self._replace(shape=(1, *self.shape[1:]), start=self.start + index * size, size=size)


def stored(folder: Path) -> dict[str, Stored]:
    """Every tensor of the checkpoint in `folder` by name; InputError names the shard that is missing or damaged."""
    tensors: dict[str, Stored] = {}
    for shard, expected in _shards(folder).items():
        found = _header(shard)
        if lost := sorted(expected - found.keys()):
            raise InputError(f"{shard.name} is damaged: it lacks {lost[0]}, which {INDEX} promises")
        tensors |= found
    return tensors


def _shards(folder: Path) -> dict[Path, set[str]]:
    """The files that hold the weights, each with the tensors that the index promises in it."""
    index = folder / INDEX
    if not index.is_file():
        return {path: set() for path in [folder / "model.safetensors"] if path.is_file()} or _none(folder)
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        shards: dict[Path, set[str]] = {}
        for name, file in weight_map.items():
            shards.setdefault(folder / Path(file).name, set()).add(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{INDEX} is damaged: {error}") from error
    if absent := sorted(path.name for path in shards if not path.is_file()):
        raise InputError(f"{absent[0]} is missing ({len(absent)} of {len(shards)} shards that {INDEX} names)")
    return shards


def _none(folder: Path) -> dict[Path, set[str]]:
    raise InputError(f"no safetensors file at {folder}")


def _header(shard: Path) -> dict[str, Stored]:
    """The tensors of one file, whose size must be just what they need."""
    size = shard.stat().st_size
    with shard.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > min(HEADER_LIMIT, size - LENGTH_BYTES):
            raise InputError(f"{shard.name} is damaged: its header does not fit into its {size} bytes")
        text = stream.read(length)
    base = LENGTH_BYTES + length
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        found = {name: _stored(name, shard, base, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{shard.name} is damaged: its header cannot be read ({error})") from error
    end = max((tensor.start + tensor.size for tensor in found.values()), default=base)
    if end != size:
        raise InputError(f"{shard.name} is damaged: {size} bytes, its header promises {end}")
    return found


def _stored(name: str, shard: Path, base: int, entry: Mapping[str, Any]) -> Stored:
    first, last = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), DTYPES[entry["dtype"]]
    if last - first != math.prod(shape) * dtype.itemsize or first < 0:
        raise ValueError(f"{name} has {last - first} bytes for {shape} of {entry['dtype']}")
    return Stored(name=name, shard=shard, dtype=dtype, shape=shape, start=base + first, size=last - first)
