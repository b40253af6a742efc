"""The architectures that the installed transformers has classes of its own for."""

from __future__ import annotations

from . import packages
from .packages import Claimed


def claimed(source: str = "") -> Claimed:
    """Read from its tables of automatic classes."""
    auto = packages.folder("transformers") / "models" / "auto"
    return Claimed(native=[name for _, name in packages.generating(auto)])
