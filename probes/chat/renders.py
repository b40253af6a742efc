"""What a checkpoint's own template makes of the conversations, as transformers renders it."""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Record

PROGRAM = Path(__file__).parent / "rendering"


class Rendered(Record, frozen=True, kw_only=True):
    """One way to render a conversation, or why the template refuses to."""

    text: str = ""
    ids: tuple[int, ...] = ()
    refused: str = ""


class Renders(Record, frozen=True, kw_only=True):
    """A checkpoint's chat template and its ends."""

    templated: bool
    """False where the checkpoint has no chat template."""
    bos: int | None
    stops: tuple[int, ...]
    """The ids at which generation ends."""
    rendered: tuple[tuple[Rendered, ...], ...] = ()
    """The ways to render each conversation."""
