"""The architectures that the installed vLLM claims: by classes of its own, or by transformers' classes."""

from __future__ import annotations

from . import packages
from .packages import Claimed

OWN = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS")
LISTED = "_TRANSFORMERS_SUPPORTED_MODELS"
"""Architectures that it names and runs by transformers' classes."""


def claimed(source: str = "") -> Claimed:
    """Read from its registry, which names classes before any is imported."""
    registry = packages.folder("vllm") / "model_executor" / "models" / "registry.py"
    return Claimed(
        native=[name for table in OWN for name in packages.keys(registry, table)],
        fallback=[*packages.keys(registry, LISTED), *packages.backend_compatible()],
    )
