"""The architectures that llama.cpp's converter takes: nothing else gets as far as llama.cpp's own code."""

from __future__ import annotations

from pathlib import Path

from . import packages
from .packages import Claimed


def claimed(source: str = "") -> Claimed:
    """Read from the converter in a folder of llama.cpp's sources, or from the package that carries it."""
    conversion = Path(source) / "conversion" if source else packages.folder("conversion")
    return Claimed(native=packages.keys(conversion / "__init__.py", "TEXT_MODEL_MAP"))
