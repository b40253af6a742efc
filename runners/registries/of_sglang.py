"""The architectures that the installed SGLang claims: by classes of its own, or by transformers' classes."""

from __future__ import annotations

import ast
from pathlib import Path

from . import packages
from .packages import Claimed


def claimed(source: str = "") -> Claimed:
    """Read from the modules of its models, each of which says what it is for."""
    models = packages.folder("sglang") / "srt" / "models"
    named = [name for path in models.rglob("*.py") for name in _entries(path)]
    native = [name for name in named if not name.startswith("Transformers")]
    return Claimed(native=native, fallback=packages.backend_compatible())


def _entries(path: Path) -> list[str]:
    """`EntryClass = A` or `EntryClass = [A, B]`."""
    found = packages.assigned(path, "EntryClass")
    listed = found.elts if isinstance(found, ast.List | ast.Tuple) else [found]
    return [item.id for item in listed if isinstance(item, ast.Name)]
