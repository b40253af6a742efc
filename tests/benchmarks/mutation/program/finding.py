"""Where in a model a fault can be put: by what its modules are and hold, not by which model it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch

T = TypeVar("T")

MEDIA = re.compile(r"vision|audio|visual|multi_modal|mm_projector|embed_vision|embed_audio")
OUTPUT_PROJECTIONS = r"(o_proj|out_proj|down_proj)(\.weight)?"
"""Every layer has one, and reads it: of the others, some of Gemma 4's are saved and never read."""


def text_modules(model: Any) -> Iterator[tuple[str, Any]]:
    """Modules that text passes through, by name."""
    return ((name, module) for name, module in model.named_modules() if not MEDIA.search(name))


def modules(model: Any, pattern: str) -> list[tuple[str, Any]]:
    """Those whose name ends as a pattern says."""
    ends = re.compile(rf"(^|\.)({pattern})$")
    return [(name, module) for name, module in text_modules(model) if ends.search(name)]


def tensors(model: Any, pattern: str) -> list[tuple[str, Any]]:
    """Parameters and saved buffers whose name ends as a pattern says; of a shared one, the first name."""
    ends, saved, seen = re.compile(rf"(^|\.)({pattern})$"), set(model.state_dict()), set()
    found = []
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name in saved and ends.search(name) and not MEDIA.search(name) and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found.append((name, tensor))
    return found


def tensor(model: Any, name: str) -> Any:
    """One of them by its whole name."""
    path, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(path), leaf)


def ends(found: Sequence[T]) -> list[T]:
    """The first and the last."""
    return [found[0], found[-1]] if len(found) > 1 else list(found)


def apart(found: Sequence[tuple[str, Any]]) -> list[str]:
    """The names of the first of its kind and of the last, a kind being a name without its layer's number."""
    return [name for name, _ in ends(found)]


def layers(model: Any) -> list[tuple[str, Any]]:
    """The decoder's layers, by name."""
    found = [
        (name, module) for name, module in text_modules(model)
        if isinstance(module, torch.nn.ModuleList) and name.rpartition(".")[2] in ("layers", "h", "blocks")
    ]  # fmt: skip
    name, longest = max(found, key=lambda pair: len(pair[1]))
    return [(f"{name}.{number}", layer) for number, layer in enumerate(longest)]


def attentions(model: Any) -> list[tuple[str, Any]]:
    """Modules of softmax attention: they have a scale of their own."""
    return [
        (name, module)
        for name, module in text_modules(model)
        if isinstance(getattr(module, "scaling", None), float) and "Attention" in type(module).__name__
    ]


def rotaries(model: Any) -> list[tuple[str, Any]]:
    """Modules that make rotary embeddings, of whichever of them are made use of."""
    return [(name, module) for name, module in modules(model, r"rotary_emb\w*") if list(module.buffers())]


def mixers(model: Any) -> list[tuple[str, Any]]:
    """Recurrent layers: those with a convolution over time."""
    return [
        (name, module)
        for name, module in text_modules(model)
        if any(isinstance(child, torch.nn.Conv1d) for child in module.children())
    ]


def short(name: str) -> str:
    """A name without what all names begin with."""
    return re.sub(r"^(model\.)?(language_model\.)?(model\.)?(layers\.)?", "", name)
