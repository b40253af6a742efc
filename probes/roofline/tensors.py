"""The tensors of a checkpoint: names, shapes and bytes, from the headers of its safetensors files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrix.cells import Record
from matrix.errors import Infrastructure

BITS = {
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    "F4": 4,
}
"""Bits of an element, by safetensors' names of dtypes."""

FLOATS = ("F64", "F32", "F16", "BF16")
"""Dtypes that an engine casts to the one it computes in; the others are read as they are stored."""

PACKED = {"qweight": 8, "weight_packed": 8, "_blocks": 2}
"""Weights that one stored integer holds, by the ending of the tensor's name: 4-bit weights in int32 (AWQ, GPTQ,
compressed-tensors) and two MXFP4 numbers in a byte."""

COMPANIONS = ("_scale", "_scales", "scales", "_scale_inv", "qzeros", "g_idx", "zero_point", "_shape", "input_scale")
"""What goes with quantized weights: read with them, multiplied with nothing."""

HEADER_LIMIT = 2**28
"""Bytes that a header may have; longer ones are no header."""


class Tensor(Record, frozen=True, kw_only=True):
    """One tensor as it is stored."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def stored(self) -> int:
        """Elements that are stored."""
        return math.prod(self.shape)

    def bytes_as(self, itemsize: int) -> float:
        """Bytes that reading it takes, where floats are computed with `itemsize` bytes each."""
        return self.stored * (itemsize if self.dtype in FLOATS else BITS[self.dtype] / 8)


def weights_in(name: str, tensor: Tensor) -> int:
    """Weights that it multiplies with: packed ones unpacked, scales and zero points none."""
    if name.endswith(COMPANIONS):
        return 0
    packed = next((number for ending, number in PACKED.items() if name.endswith(ending)), 1)
    return tensor.stored * packed


def read_table(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint folder by name; raises Infrastructure where a file is no safetensors file."""
    table: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        table |= _header(path)
    if not table:
        raise Infrastructure(f"the checkpoint {folder.name} has no safetensors files")
    return table


def _header(path: Path) -> Mapping[str, Tensor]:
    """The format: eight bytes that hold the header's length (little-endian), then the header as JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > HEADER_LIMIT:
                raise ValueError(f"a header of {length} bytes")
            header: dict[str, Any] = json.loads(file.read(length))
        return {
            name: Tensor(dtype=_known(entry["dtype"]), shape=tuple(entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Infrastructure(f"{path.name} is no readable safetensors file: {error}") from error


def _known(dtype: str) -> str:
    if dtype not in BITS:
        raise ValueError(f"unknown dtype {dtype!r}")
    return dtype
