"""A model larger than memory: its parts are read when all passes stand before them, used once, and dropped.

Parts are the members of the model's lists of layers, and every other module that holds parameters. The experts of a
layer are not read with it: when all passes have chosen theirs, each expert is read once, used by all, and dropped.

Memory at its peak: one part and the one that is being read, both in the model's dtype, and what the passes carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint import Stored
from .lockstep import Call, Job, in_step, pass_number, stop_at, together
from .reader import Reader
from .resume import Notebook
from .weights import Weights, check_loaded, empty_like, tied

Tensors = dict[str, Any]


class Streamed:
    """The passes of one model whose weights come from its checkpoint part by part."""

    def __init__(self, model: Any, folder: Path, dtype: Any, notebook: Notebook | None = None) -> None:
        self.model = model
        self.weights = Weights(model, folder, dtype)
        self.notebook = notebook
        self.reader = Reader()
        self._thread = _one_core_thread()
        _check_complete(self)
        self.parts = [Part(self, name, module, listed) for name, module, listed in _parts(model)]
        self._follower = dict(zip(self.parts, self.parts[1:], strict=False))
        self._present: Part | None = None
        self._ahead: tuple[Part, Future[Tensors]] | None = None
        self._load_residents()

    def run(self, jobs: Sequence[Job]) -> None:
        """Do jobs, each of which makes one forward pass, together."""
        try:
            together(jobs)
        finally:
            self._drop()

    def bring(self, part: Part) -> None:
        """Have the part's weights in memory, and no other's; begin to read the one that comes after it."""
        if self._present is part:
            return
        before = self._present
        self._drop()
        if before is not None:
            self._follower[before] = part  # what the model's own code does, whatever the order of its modules
        part.fill(self._tensors(part))
        self._present = part
        after = self._follower.get(part)
        while after is not None and self.notebook is not None and self.notebook.knows(after.name):
            after = self._follower.get(after)
        if after is not None:
            self._ahead = after, self._thread.submit(self._read, after)

    def member(self, name: str, index: int) -> tuple[Any, list[Any]]:
        """One expert's share of a parameter, and the memory to give back when it was used."""
        return self._thread.submit(self.weights.member, name, index, self.reader).result()

    def give_back(self, tensors: Iterable[Any]) -> None:
        """Memory that nobody looks at any more."""
        self._thread.submit(self.reader.give_back, list(tensors))

    def _tensors(self, part: Part) -> Tensors:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is part:
            return ahead[1].result()
        if ahead is not None and ahead[1].exception() is None:
            self.give_back(ahead[1].result().values())
        return self._thread.submit(self._read, part).result()

    def _read(self, part: Part) -> Tensors:
        return {tensor.name: self.reader.read(tensor, self.weights.dtype) for tensor in part.stored}

    def _drop(self) -> None:
        if self._present is not None:
            self.give_back(self._present.drop())
            self._present = None

    def _load_residents(self) -> None:
        """Parameters and buffers that belong to no part stay."""
        names = [part.name for part in self.parts]
        apart = {tensor.name for name in names for tensor in self.weights.below(name)}
        every = [source.tensor for sources in self.weights.sources.values() for source in sources]
        dtype = self.weights.dtype
        self.weights.put({one.name: self.reader.read(one, dtype) for one in every if one.name not in apart})


class Part:
    """A gate: a module whose weights come when all passes stand before it."""

    def __init__(self, owner: Streamed, name: str, module: Any, listed: bool) -> None:
        self.owner, self.name, self.module, self.listed = owner, name, module, listed
        """`listed`: one of many like it, after which the passes' state is worth writing down."""
        self.experts = [Experts(owner, f"{name}.{inner}", child) for inner, child in _experts(module)]
        self.ties = {inner: source for inner, source in tied(owner.model).items() if inner.startswith(f"{name}.")}
        self.stored = self._stored()
        self._shells = {inner: empty_like(p) for inner, p in module.named_parameters()}
        self._tensors: list[Any] = []
        self._forward = module.forward
        module.forward = self._gated

    def _stored(self) -> list[Stored]:
        own = self.owner.weights.below(self.name, without=[one.name for one in self.experts])
        ties = [s for target, s in self.ties.items() if target not in self.owner.weights.sources]
        return own + [source.tensor for name in ties for source in self.owner.weights.sources[name]]

    def _gated(self, *args: Any, **kwargs: Any) -> Any:
        notebook = self.owner.notebook if self.listed else None
        number = pass_number()
        if notebook is not None and (known := notebook.recall(self.name, number)) is not None:
            return known
        if in_step():
            stop_at(self, args, kwargs)
        else:
            self.owner.bring(self)
        output = self._forward(*args, **kwargs)
        if notebook is not None:
            notebook.keep(self.name, number, output, kwargs)
        return output

    def enter(self, calls: Sequence[Call]) -> None:
        """Bring the weights and let every pass through."""
        if self.owner.notebook is not None:
            # Only now has every pass left the layer before: one with experts is left some gates after it was entered.
            self.owner.notebook.turn()
        self.owner.bring(self)
        for call in calls:
            call.answer(None)

    def fill(self, tensors: Tensors) -> None:
        """Set the weights from stored tensors, those of tied parameters too."""
        model = self.owner.model
        self.owner.weights.put(tensors)
        self._tensors = list(tensors.values())
        for target, source in self.ties.items():
            if target in self.owner.weights.sources:
                continue
            _set(model, target, model.get_parameter(source))
            if not source.startswith(f"{self.name}."):
                _set(model, source, empty_like(model.get_parameter(source)))
        check_loaded((f"{self.name}.{inner}" for inner, one in self.module.named_parameters() if one.is_meta), ())

    def drop(self) -> list[Any]:
        """Empty the module again, and return the memory that is worth keeping for others like it; buffers stay."""
        for inner, shell in self._shells.items():
            _set(self.module, inner, shell)
        stay = {buffer.data_ptr() for buffer in self.module.buffers()}
        tensors, self._tensors = self._tensors, []
        return [tensor for tensor in tensors if self.listed and tensor.data_ptr() not in stay]


class Experts:
    """A gate within a layer: all passes' tokens go through it at once, and each expert is read once."""

    def __init__(self, owner: Streamed, name: str, module: Any) -> None:
        self.name, self.module = name, module
        self._forward = module.forward
        parameters = dict(module.named_parameters(recurse=False))
        self._stacks = {inner: Members(owner, f"{name}.{inner}", one) for inner, one in parameters.items()}
        for inner, stack in self._stacks.items():
            del module._parameters[inner]
            module.__dict__[inner] = stack
        module.forward = self._gated

    def _gated(self, *args: Any) -> Any:
        return stop_at(self, args, {}) if in_step() else self._forward(*args)

    def enter(self, calls: Sequence[Call]) -> None:
        """One call for the tokens of all; experts treat each token by itself, so nothing else changes."""
        sizes = [len(call.args[0]) for call in calls]
        joined = [torch.cat(column) for column in zip(*(call.args for call in calls), strict=True)]
        parts = self._forward(*joined).split(sizes)
        for stack in self._stacks.values():
            stack.release()
        for call, part in zip(calls, parts, strict=True):
            call.answer(part)


class Members:
    """Stands for a parameter [E, ...] whose members are read one at a time."""

    def __init__(self, owner: Streamed, name: str, parameter: Any) -> None:
        self._owner, self._name = owner, name
        self._used: list[Any] = []
        self.shape, self.dtype, self.device = parameter.shape, parameter.dtype, torch.device("cpu")

    def release(self) -> None:
        """Give back the memory of the member that was used last."""
        self._owner.give_back(self._used)
        self._used = []

    def __getitem__(self, index: Any) -> Any:
        self.release()
        member, self._used = self._owner.member(self._name, int(index))
        return member


def _one_core_thread() -> ThreadPoolExecutor:
    """A thread whose tensor operations take one core: the others multiply meanwhile."""
    thread, cores = ThreadPoolExecutor(max_workers=1), torch.get_num_threads()
    # The number holds for the thread that sets it, and for threads that are new to torch.
    thread.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(cores)
    return thread


def _parts(module: Any, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Modules that are read as one, with their names, and whether each is one of a list."""
    for inner, child in module.named_children():
        name = f"{prefix}{inner}"
        if next(child.parameters(), None) is None:
            continue
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{place}", member, True) for place, member in enumerate(child))
        elif any(isinstance(one, nn.ModuleList) for one in child.modules()):
            yield from _parts(child, f"{name}.")
        else:
            yield name, child, False


def _experts(module: Any) -> Iterator[tuple[str, Any]]:
    """Modules that hold the weights of many experts as stacks, which transformers marks."""
    for name, child in module.named_modules():
        stacks = list(child._parameters.values())
        if hasattr(child, "_is_expert_parallel") and stacks and len({len(stack) for stack in stacks}) == 1:
            yield name, child


def _set(root: Any, name: str, parameter: Any) -> None:
    path, _, leaf = name.rpartition(".")
    (root.get_submodule(path) if path else root)._parameters[leaf] = parameter


def _check_complete(streamed: Streamed) -> None:
    """InputError where the checkpoint lacks a parameter."""
    if any(len(entry.target_patterns) > 1 for entry in streamed.weights.converters):
        return  # which parameters such a converter fills is not known before it has run; `fill` leaves none empty
    sources, ties = streamed.weights.sources, tied(streamed.model)
    check_loaded((name for name in streamed.model.state_dict() if {name, ties.get(name)}.isdisjoint(sources)), ())
