"""The templates' environment: what pages and drafts have in common."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from reports import repeat
from reports.render import short_number

__all__ = ["Template", "environment"]


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
        "number": short_number,
        "versions": repeat.versions,
        "commands": repeat.commands,
        "engine_command": repeat.engine_command,
    }
    return made
