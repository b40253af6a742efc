"""The types of model that the installed mlx-lm has a module for, under their own name or another one's."""

from __future__ import annotations

from . import packages
from .packages import Claimed


def claimed(source: str = "") -> Claimed:
    """Read from the names of its modules."""
    home = packages.folder("mlx_lm")
    modules = [path.stem for path in (home / "models").glob("*.py") if "\nclass Model(" in path.read_text("utf-8-sig")]
    return Claimed(native=[*modules, *packages.keys(home / "utils.py", "MODEL_REMAPPING")], by="model_type")
