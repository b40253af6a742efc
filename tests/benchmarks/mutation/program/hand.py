"""How a fault is put into a model, and its null twin: the same machinery, which changes nothing.

A change is written once, as calls of a `Hand`. One hand does what it is told; the other goes through the same motions
with the numbers that are there already.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from .feeding import Feed
from .finding import tensor

Make = Callable[[Any], Any]


class Hand:
    """What changes a model; with `null`, into what it was."""

    def __init__(self, null: bool) -> None:
        self.null = null

    def tensor(self, tensor: Any, make: Make) -> None:
        """Other numbers in a tensor; the twin puts a copy of the old ones there."""
        old = tensor.detach().clone()
        tensor.data.copy_(old if self.null else make(old))

    def output(self, module: Any, change: Make) -> None:
        """Another output of a module; the twin's hook gives a copy of it."""

        def hook(_: Any, __: Any, output: Any) -> Any:
            return copied(output) if self.null else change(output)

        module.register_forward_hook(hook)

    def input(self, module: Any, change: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> None:
        """Other arguments of a module; the twin's hook hands on those that come."""

        def hook(_: Any, args: Any, kwargs: Any) -> Any:
            return (args, kwargs) if self.null else change(args, kwargs)

        module.register_forward_pre_hook(hook, with_kwargs=True)

    def through(self, module: Any, change: Callable[[Any, Any], Any]) -> None:
        """An output that is made of the module's first input and its output."""

        def hook(_: Any, args: Any, output: Any) -> Any:
            return copied(output) if self.null else change(args[0], output)

        module.register_forward_hook(hook)

    def value(self, owner: Any, name: str, value: Any) -> None:
        """Another attribute; the twin sets it to a copy of its own."""
        setattr(owner, name, copy.deepcopy(getattr(owner, name)) if self.null else value)

    def entry(self, table: dict[str, Any], name: str, value: Any) -> None:
        """Another entry of a mapping."""
        table[name] = copy.deepcopy(table[name]) if self.null else value

    def positions(self, feed: Feed, **changes: Any) -> Feed:
        """Other positions, given to the model; the twin gives those that it would count itself."""
        return feed._replace(explicit=True, **({} if self.null else changes))

    def feed(self, feed: Feed, **changes: Any) -> Feed:
        """Another way to feed the model."""
        return feed if self.null else feed._replace(**changes)


def copied(output: Any) -> Any:
    """The same numbers in tensors of their own."""
    if isinstance(output, torch.Tensor):
        return output.clone()
    if isinstance(output, tuple):
        return tuple(copied(part) for part in output)
    return output


def unchanged(_: Hand, __: Any) -> None:
    """Nothing is done."""


def as_it_was(_: Hand, feed: Feed) -> Feed:
    """The model is fed as it should be."""
    return feed


Apply = Callable[[Hand, Any], None]


def on_tensor(name: str, make: Make) -> Apply:
    """Other numbers in the tensor of that name."""
    return lambda hand, model: hand.tensor(tensor(model, name), make)


def on_output(name: str, change: Make) -> Apply:
    """Another output of the module of that name."""
    return lambda hand, model: hand.output(model.get_submodule(name), change)


def on_input(name: str, change: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Apply:
    """Other arguments of the module of that name."""
    return lambda hand, model: hand.input(model.get_submodule(name), change)


def on_both(name: str, change: Callable[[Any, Any], Any]) -> Apply:
    """Another output of the module of that name, made of its input too."""
    return lambda hand, model: hand.through(model.get_submodule(name), change)


def on_value(name: str, key: str, value: Any) -> Apply:
    """Another attribute of the module of that name."""
    return lambda hand, model: hand.value(model.get_submodule(name), key, value)


class Change(NamedTuple):
    """One fault at one place."""

    site: str
    model: Apply = unchanged
    config: Apply = unchanged
    """Done to the text part of the configuration that the model is built of; the model is loaded anew then."""
    feed: Callable[[Hand, Feed], Feed] = as_it_was
    same: str = ""
    """Why the numbers may be identical all the same, in a sentence."""


class Operator(NamedTuple):
    """A kind of mistake, and where in a model it can be made."""

    name: str
    group: str
    changes: Callable[[Any], Iterator[Change]]
    """Of a Subject."""
