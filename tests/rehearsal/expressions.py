"""Expressions of GitHub Actions, as far as our workflows use them, evaluated by way of Python."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

TOKEN = re.compile(r"'(?:[^']|'')*'|&&|\|\||!=|==|!|[A-Za-z_][\w-]*|[.()\[\],]|\d+|\s+")
WORDS = {"&&": " and ", "||": " or ", "!": " not ", "true": "True", "false": "False", "null": "None"}
STATUS = re.compile(r"\b(always|success|failure|cancelled)\(")
TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}", re.S)


class Context(dict[str, Any]):
    """`a.b.c`, where whatever is not there is null."""

    def __getattr__(self, name: str) -> Any:
        return wrapped(self[name]) if self.get(name) is not None else Null()


class Null(Context):
    """What is not there; whatever is asked of it is not there either."""

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Null)

    __hash__ = None  # type: ignore[assignment] # as of every dict


class Items(list[Any]):
    """`a[3]`, where whatever is not there is null."""

    def __getitem__(self, index: Any) -> Any:
        return wrapped(super().__getitem__(index)) if index < len(self) else None


def wrapped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Context(value)
    return Items(value) if isinstance(value, list) else value


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fromJSON": lambda text: wrapped(json.loads(text)),
    "join": lambda items, between: between.join(map(str, items)),
}


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """The value of an expression without its `${{ }}`; one that we do not know fails."""
    words, position = [], 0
    while position < len(expression):
        found = TOKEN.match(expression, position)
        assert found is not None, f"not understood: {expression[position:]!r} in {expression!r}"
        word, position = found.group(), found.end()
        words.append(repr(word[1:-1].replace("''", "'")) if word.startswith("'") else WORDS.get(word, word))
    names = {name: wrapped(value) for name, value in context.items()}
    return eval("".join(words).strip(), {"__builtins__": {}}, {**FUNCTIONS, **names})


def rendered(text: object, context: Mapping[str, Any]) -> Any:
    """A value of a workflow with its expressions filled in; one that is an expression alone keeps its type."""
    if not isinstance(text, str):
        return text
    alone = re.fullmatch(r"\$\{\{(.*?)\}\}", text.strip(), re.S)
    if alone:
        return evaluate(alone[1].strip(), context)
    return TEMPLATE.sub(lambda found: as_text(evaluate(found[1].strip(), context)), text)


def as_text(value: Any) -> str:
    """A value as GitHub writes it into a string."""
    if value is None or isinstance(value, Null):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def holds(condition: str | None, context: Mapping[str, Any]) -> bool:
    """An `if:`; without a status function in it, success is meant too."""
    text = (condition or "success()").strip()
    alone = re.fullmatch(r"\$\{\{(.*?)\}\}", text, re.S)
    text = alone[1].strip() if alone else text
    if not STATUS.search(text):
        text = f"success() && ({text})"
    return bool(evaluate(text, context))
