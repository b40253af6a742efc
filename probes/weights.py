"""The weights of a cell: what its engine is given, and those that it computes with and is therefore judged by.

They are the same, but where weights are quantized: an engine is held against the dequantized numbers of the very file
that it loads, so that what is measured is its arithmetic and not what quantizing costs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from matrix.cells import Cell
from matrix.errors import NotSupported
from probes.probe import Bench
from probes.reference.stage import Reference
from runners import models
from runners.engine import Engine, Environment
from runners.environments import Say
from runners.models import Checkpoint

ROUNDING_INPUTS = ("int8", "fp8")
"""Families of replicates that round what linear layers read; none rounds what experts read."""


def served(engine: Engine, cell: Cell, source: Checkpoint, reference: Environment) -> Checkpoint:
    """What the engine is given: the checkpoint as it was released, or in the format or dtype that the config names.

    Raises NotSupported where the engine is not known to load that format, or the format is not for such weights.
    """
    released, wanted = models.format_of(source.folder), cell.config.quantization
    if released is not None and wanted is not None:
        raise NotSupported(f"the weights are released in {released}, and are not quantized again")
    method = released or wanted
    widens = engine.dtype_of_weights and cell.dtype == "float32" != cell.model.dtype
    if widens and method is not None:
        raise NotSupported(f"this engine computes in the dtype of its weights, and those are in {method}")
    if widens:
        return models.widened(source, cell.model.id, reference)
    if method is None or engine.makes(cell.config):
        return source
    if method not in engine.formats:
        raise NotSupported(f"this engine neither makes nor is known to load weights in {method}")
    return source if released else models.packed(source, method, cell.model.id, reference)


def dense(source: Checkpoint, cell: Cell, reference: Environment, say: Say) -> Checkpoint:
    """A released checkpoint, its weights dense where it was released in a format; raises NotSupported."""
    if models.format_of(source.folder) is None:
        return source
    return models.unpacked(source, cell.model.id, reference, say)


def bench(engine: Engine, cell: Cell, released: Reference, given: Checkpoint, own: Callable[[], Path], /) -> Bench:
    """What measuring needs: the reference of the weights that the engine computes with.

    `released` is the reference of the checkpoint as released, `given` what the engine is given, and `own()` makes or
    finds the file that the engine's converter makes of it. Raises NotSupported where no noise is known.
    """
    quantization, method = cell.config.quantization, models.format_of(given.folder)
    if quantization is None and method is None:
        return Bench(reference=released, watch=released.watch)
    name = f"{cell.model.id} in {method or quantization}"
    noise = family(engine, cell, method, released.dtype)
    if noise in ROUNDING_INPUTS and models.has_experts(given.folder):
        raise NotSupported("quantized experts: no replicate rounds the inputs of experts, so their noise is unknown")
    if method is None:
        used = models.dequantized(own(), given, name, released.environment)
    else:
        used = models.unpacked(given, name, released.environment)
    reference = msgspec.structs.replace(released, checkpoint=used, dtype=noise, host=None)
    return Bench(reference=reference, watch=released.watch, released=released if quantization else None)


def family(engine: Engine, cell: Cell, method: str | None, dtype: str) -> str:
    """The noise replicates of an engine's kernels for weights in a format; `dtype` names those of plain weights."""
    if method is None:
        return engine.quantizations[str(cell.config.quantization)]
    return engine.formats[method] if cell.device.accelerators else dtype
