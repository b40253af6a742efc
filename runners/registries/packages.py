"""What the modules beside this one share: an installed package is read and never imported, so no GPU is asked for."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path

BACKEND_FLAG = "_supports_attention_backend"
"""Set to True on the base class of a model in transformers that an engine may run by its own attention."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claimed:
    """What a release names; what it has code of its own for is no fallback."""

    native: list[str]
    fallback: list[str] = dataclasses.field(default_factory=list)
    """By transformers' classes."""
    by: str = "architecture"
    """What the names are of a checkpoint's config: `architecture` or `model_type`."""


def folder(package: str) -> Path:
    """Where a package is installed; exits where it is not."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{package} is not installed")
    return Path(found.submodule_search_locations[0])


def assigned(path: Path, name: str) -> ast.expr | None:
    """The expression that a module assigns to a name, outside of functions and classes."""
    for statement in ast.parse(path.read_text(encoding="utf-8-sig")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return getattr(statement, "value", None)
    return None


def keys(path: Path, name: str) -> list[str]:
    """The keys of a dictionary that a module assigns to a name; exits where it has none."""
    found = assigned(path, name)
    if not isinstance(found, ast.Dict):
        raise SystemExit(f"{path.name} has no dictionary {name}")
    return [str(key.value) for key in found.keys if isinstance(key, ast.Constant)]


def pairs(path: Path, name: str) -> list[tuple[str, str]]:
    """The pairs of `name = OrderedDict([(a, b), …])`; of several classes b the first."""
    found = assigned(path, name)
    if not isinstance(found, ast.Call):
        raise SystemExit(f"{path.name} has no mapping {name}")
    listed = ast.literal_eval(found.args[0])
    return [(key, value if isinstance(value, str) else value[0]) for key, value in listed]


def generating(auto: Path) -> list[tuple[str, str]]:
    """Model types and classes of transformers that generate text."""
    names = ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES")
    return [pair for name in names for pair in pairs(auto / "modeling_auto.py", name)]


def backend_compatible() -> list[str]:
    """Generating classes of the installed transformers in whose module a base class allows for another attention."""
    models = folder("transformers") / "models"
    wanted = {name for _, name in generating(models / "auto")}
    return [name for path in models.glob("*/modeling_*.py") for name in _compatible(path, wanted)]


def _compatible(path: Path, wanted: set[str]) -> Iterator[str]:
    text = path.read_text(encoding="utf-8-sig")
    if f"{BACKEND_FLAG} = True" in text:
        yield from (name for name in wanted if f"\nclass {name}(" in text)
