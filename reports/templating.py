"""The templates' environment: what pages and drafts have in common."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from reports import repeat

__all__ = ["Template", "environment"]

CLIPPED = 160
"""Characters of a sentence in a square or a line; the whole of it stands elsewhere."""


def environment(*, autoescape: bool) -> Environment:
    """Templates of this package; `autoescape` is for HTML: in Markdown an engine's words stand in fences."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "clipped": clipped,
        "versions": repeat.versions,
        "commands": repeat.commands,
        "engine_command": repeat.engine_command,
    }
    return made


def clipped(text: str) -> str:
    """A sentence short enough for a square or a line."""
    return text if len(text) <= CLIPPED else f"{text[:CLIPPED]} …"
