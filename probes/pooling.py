"""Measurements of several looks brought together: as one, or one beside the other that must bear it out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matrix.results import Measurement, Table

CONFIRMATION = "confirmation "
"""What the names of tables begin with that another server made of other sequences."""


def beside(first: Measurement, second: Measurement) -> Measurement:
    """The first measurement with the second under names of its own."""
    tables = {CONFIRMATION + name: table for name, table in second.tables.items()}
    return Measurement(values={**first.values, "confirmation": second.values}, tables={**first.tables, **tables})


def confirmation(tables: dict[str, Table]) -> dict[str, Table]:
    """The second measurement's tables under their plain names."""
    return {name.removeprefix(CONFIRMATION): table for name, table in tables.items() if name.startswith(CONFIRMATION)}


def stacked(first: Table, second: Table) -> Table:
    """The sequences of two tables, one after the other; arrays [S, …] are padded to the wider one's width.

    What is no array of sequences, such as metadata, is the first one's.
    """
    return {name: _stacked(array, second[name]) if array.ndim else array for name, array in first.items()}


def _stacked(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shape = tuple(max(pair) for pair in zip(one.shape[1:], other.shape[1:], strict=True))
    return np.concatenate([_padded(one, shape), _padded(other, shape)])


def _padded(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """NaN beyond the end of numbers, -1 beyond that of ids."""
    if array.shape[1:] == shape:
        return array
    wider = np.full((len(array), *shape), np.nan if array.dtype.kind == "f" else -1, dtype=array.dtype)
    wider[tuple(slice(size) for size in array.shape)] = array
    return wider
