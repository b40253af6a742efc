"""Which stored tensors make which parameters of a model, by transformers' own renaming and converting."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers.conversion_mapping import (
    get_model_conversion_mapping,
)
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    convert_and_load_state_dict_in_model,
    dot_natural_key,
    rename_source_key,
)
from transformers.modeling_utils import LoadStateDictConfig

from .checkpoint import Stored, stored
from .errors import InputError
from .reader import Reader


class Source(NamedTuple):
    """A stored tensor and the converter's pattern that takes it, or None where it is taken as it is."""

    tensor: Stored
    pattern: str | None


class Weights:
    """The checkpoint in `folder` as the parameters of `model`, which may be empty shells on the meta device."""

    def __init__(self, model: Any, folder: Path, dtype: Any) -> None:
        self.model, self.dtype = model, dtype
        self.mapping = get_model_conversion_mapping(model, None, None)
        self.plan = model._get_dtype_plan(dtype)
        self.converters = [entry for entry in self.mapping if isinstance(entry, WeightConverter)]
        self.sources: dict[str, list[Source]] = {}
        """By parameter. A converter with several targets is listed at the first of them."""
        state = model.state_dict()
        for name, tensor in sorted(stored(folder).items(), key=lambda item: dot_natural_key(item[0])):
            target, pattern = self._target(name, state)
            if target in state:
                self.sources.setdefault(target, []).append(Source(tensor, pattern))

    def _target(self, name: str, state: Mapping[str, Any]) -> tuple[str, str | None]:
        renamings = [entry for entry in self.mapping if isinstance(entry, WeightRenaming)]
        prefix = self.model.base_model_prefix
        target, pattern = rename_source_key(name, renamings, self.converters, prefix, state)
        if target not in state and name in state:
            target, pattern = rename_source_key(name, [], [], prefix, state)
        return target, pattern

    def below(self, prefix: str, without: Iterable[str] = ()) -> list[Stored]:
        """Stored tensors of the parameters under a module's name, but for those under some others'."""
        apart = tuple(f"{name}." for name in without)
        return [
            source.tensor
            for target, sources in self.sources.items()
            if target.startswith(f"{prefix}.") and not target.startswith(apart)
            for source in sources
        ]

    def put(self, tensors: Mapping[str, Any]) -> None:
        """Set tensors, by their stored names, as parameters; InputError where a shape differs or a conversion fails."""
        if self.plan:
            self._convert(tensors)  # some modules keep another dtype, which transformers' own loader sees to
            return
        plain = {
            source.tensor.name: target
            for target, sources in self.sources.items()
            for source in sources
            if source.pattern is None and source.tensor.name in tensors
        }
        for name, target in plain.items():
            self._set(target, tensors[name])
        if others := {name: tensor for name, tensor in tensors.items() if name not in plain}:
            self._convert(others)

    def _set(self, target: str, tensor: Any) -> None:
        path, _, leaf = target.rpartition(".")
        module = self.model.get_submodule(path) if path else self.model
        shell = getattr(module, leaf)
        if tensor.shape != shell.shape:
            check_loaded((), [(target, tensor.shape, shell.shape)])
        tensor = tensor.to(shell.dtype)
        if leaf in module._buffers:
            module._buffers[leaf] = tensor
        else:
            module._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)

    def _convert(self, tensors: Mapping[str, Any]) -> None:
        mapping = copy.deepcopy(self.mapping)
        config = LoadStateDictConfig(dtype=self.dtype, dtype_plan=self.plan, weight_mapping=mapping)
        info, _ = convert_and_load_state_dict_in_model(self.model, tensors, config)
        check_loaded((), info.mismatched_keys)
        if info.conversion_errors:
            name, what = sorted(info.conversion_errors.items())[0]
            raise InputError(f"{name} cannot be converted: {what}")

    def member(self, target: str, index: int, reader: Reader) -> tuple[Any, list[Any]]:
        """One member of a parameter that is a stack, such as one expert's matrix, and the tensors that it was made of.

        It comes without the stack's dimension.
        """
        sources = self.sources[target]
        patterns = list(dict.fromkeys(source.pattern for source in sources))
        by_pattern = {one: [source.tensor for source in sources if source.pattern == one] for one in patterns}
        stored = {one: same[index] if len(same) > 1 else same[0].part(index) for one, same in by_pattern.items()}
        read = {one: reader.read(tensor, self.dtype) for one, tensor in stored.items()}
        if patterns == [None]:
            return read[None][0], [read[None]]
        converter = copy.deepcopy(next(entry for entry in self.converters if patterns[0] in entry.source_patterns))
        for pattern, tensor in read.items():
            converter.add_tensor(target, stored[pattern].name, pattern, tensor)
        made = converter.convert(target, model=self.model, config=self.model.config)[target]
        return (made[0] if isinstance(made, list) else made)[0], list(read.values())


def check_loaded(missing: Iterable[str], mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    """InputError where a parameter was not filled: transformers would go on with random numbers."""
    if names := sorted(missing, key=dot_natural_key):
        raise InputError(f"the checkpoint lacks {names[0]} ({len(names)} parameters in all)")
    for name, found, expected in sorted(mismatched, key=lambda one: dot_natural_key(one[0])):
        raise InputError(f"{name} is {list(found)} in the checkpoint, {list(expected)} by its config.json")


def tied(model: Any) -> dict[str, str]:
    """Parameters that are another one under a second name: {name: the one that is stored}."""
    return dict(model.all_tied_weights_keys)


def nbytes(model: Any, dtype: Any) -> int:
    """Bytes of all parameters in `dtype`."""
    return int(sum(parameter.numel() for parameter in model.parameters()) * dtype.itemsize)


def empty_like(parameter: Any) -> Any:
    """The same parameter without its numbers."""
    return torch.nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
