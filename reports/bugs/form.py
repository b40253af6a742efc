"""What an engine's maintainers ask for in a bug report, and how a standalone program asks one of their servers."""

from __future__ import annotations

from typing import Literal

from matrix.cells import Record

Content = Literal[
    "environment", "description", "reproduction", "expected", "version", "system", "device", "hardware", "model",
    "first_bad", "log", "command",
]  # fmt: skip
"""What goes into a field; `description` is expected and seen, the repro and what it printed."""


class Field(Record, frozen=True, kw_only=True):
    """One field of a form, in the form's own order."""

    label: str
    content: tuple[Content, ...]
    id: str | None = None
    """By which a link can fill it in; None where the form gives it none."""


class Dialect(Record, frozen=True, kw_only=True):
    """How an engine's server scores a prompt, in Python source for a standalone program."""

    path: str
    body: str
    """An expression of IDS (the prompt) and FOLDER (the checkpoint, by which it is served): the request."""
    rows: str
    """An expression of `answer`: for every token but the first a dict of ids and logprobs, its own among them."""
    variables: dict[str, dict[str, str]] = {}
    """Environment variables that it needs, by kind of device."""


class Form(Record, frozen=True, kw_only=True):
    """A project's bug form."""

    engine: str
    project: str
    """`owner/name` of its repository."""
    template: str | None
    """File of the form; None where it has none."""
    prefix: str
    """What a title begins with."""
    fields: tuple[Field, ...]
    remarks: tuple[str, ...] = ()
    """What its maintainers want besides, for the person who submits it."""
    install: str
    """A line for a shell that installs `{version}`."""
    image: str | None = None
    """Its official image; `{version}` stands for the release's."""
    dialect: Dialect | None = None
    """None where a repro cannot be made by itself."""
