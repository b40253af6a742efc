"""The pristine model of a checkpoint, and each mutant made of it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from . import experts, positions
from .feeding import CHUNKS, Feed
from .feeding import Path as NumericPath
from .hand import Change, Hand, Operator, unchanged

SITES = 2
"""Of an operator in one checkpoint."""
SEED = 1


class Mutant(NamedTuple):
    """A fault, or its null twin, and the numeric path that it is served through."""

    operator: Operator
    change: Change
    null: bool
    path: NumericPath


class Built(NamedTuple):
    """A mutant that can be asked."""

    model: Any
    feed: Feed


class Subject:
    """One checkpoint: what operators look at."""

    def __init__(self, folder: Path, ids: Any = None) -> None:
        self.reference = sys.modules["reference_program.models"]
        self.folder = folder
        self.model = self.reference.load_model(folder, "float32", "sdpa")
        self.ids = torch.arange(16, 64)[None] if ids is None else ids
        """A few tokens, for operators that must see a module at work."""

    @property
    def config(self) -> Any:
        """The text part of the configuration."""
        return self.model.config.get_text_config()

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Tensors as they are where nothing was loaded."""
        torch.manual_seed(SEED)
        config = copy.deepcopy(self.model.config)
        made = type(self.model)._from_config(config, dtype=torch.float32, attn_implementation="eager")
        return dict(made.state_dict())

    @cached_property
    def rotating(self) -> list[str]:
        """Attention layers that are handed a rotation."""
        return positions.rotating(self.model, self.ids)

    @property
    def rotates(self) -> bool:
        """Whether positions matter by a rotation."""
        return bool(self.rotating)

    @cached_property
    def routers(self) -> list[Any]:
        """Of its mixtures of experts."""
        return experts.routers(self)

    def outputs(self, kinds: Any) -> dict[str, Any]:
        """What some modules give for a few tokens, by name; kinds: which outputs are wanted."""
        found: dict[str, Any] = {}
        hooks = [
            module.register_forward_hook(
                lambda _, __, output, name=name: found.update({name: output}) if kinds(output) else None
            )
            for name, module in self.model.named_modules()
        ]
        with torch.inference_mode():
            self.model(input_ids=self.ids, use_cache=False)
        for hook in hooks:
            hook.remove()
        return found


def mutants(subject: Subject, operators: tuple[Operator, ...]) -> Iterator[Mutant]:
    """All of one checkpoint: at most so many sites of each operator, and the null twin of the first."""
    for number, operator in enumerate(operators):
        path = NumericPath(number, CHUNKS[number % len(CHUNKS)])
        for place, change in enumerate(list(operator.changes(subject))[:SITES]):
            yield Mutant(operator, change, False, path)
            if place == 0:
                yield Mutant(operator, change, True, path)


def build(subject: Subject, mutant: Mutant | None, path: NumericPath, dtype: Any = torch.float32) -> Built:
    """A model of its own with the fault in it; None: as it should be."""
    hand, change = (Hand(mutant.null), mutant.change) if mutant else (Hand(True), Change(""))
    model = copy.deepcopy(subject.model) if change.config is unchanged else _reloaded(subject, hand, change)
    if dtype is torch.float64:
        model = _double(model)
    change.model(hand, model)
    cut(model, path.number)
    return Built(model, change.feed(hand, Feed(path.chunk)))


def _double(model: Any) -> Any:
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_experts_implementation"):
            module.config._experts_implementation = "eager"  # the grouped kernels know no float64
    return model.double()


def cut(model: Any, number: int) -> None:
    """Make the sums that add to the residual stream of 2 to 4 parts, cut at places of this path's own.

    That is what tensor-parallel devices and split-K kernels do. Every path rounds in its own way by it.
    """
    generator = torch.Generator().manual_seed(number)
    ends = sys.modules["reference_program.ways"].ROW_PARALLEL
    for name, layer in model.named_modules():
        if name.endswith(ends) and type(layer) is torch.nn.Linear:
            width = layer.weight.shape[1]
            parts = int(torch.randint(1, 4, (), generator=generator))
            places = torch.randperm(width - 1, generator=generator)[:parts] + 1
            layer.forward = _in_parts(layer, sorted(places.tolist()))


def _in_parts(layer: Any, places: list[int]) -> Any:
    def forward(values: Any) -> Any:
        pieces = zip(values.tensor_split(places, -1), layer.weight.tensor_split(places, 1), strict=True)
        first, *others = (torch.nn.functional.linear(piece, weight) for piece, weight in pieces)
        total = sum(others, first)
        return total if layer.bias is None else total + layer.bias

    return forward


def _reloaded(subject: Subject, hand: Hand, change: Change) -> Any:
    config = copy.deepcopy(subject.model.config)
    change.config(hand, config.get_text_config())
    make = sys.modules["reference_program.architecture"].auto_class(config).from_pretrained
    options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    kind = subject.model.config._attn_implementation
    model, info = make(subject.folder, config=config, attn_implementation=kind, **options)
    if info["missing_keys"] or info["mismatched_keys"]:
        raise ValueError("the weights do not fit a configuration with that change")
    return model.eval()
