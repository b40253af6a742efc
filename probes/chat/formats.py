"""Chat formats: a template, its markers, and scripts of what a model says with what a server must make of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from matrix.cells import Record

FOLDER = Path(__file__).parent / "formats"


class ScriptedCall(Record, frozen=True, kw_only=True):
    """A call that must be found."""

    name: str
    arguments: str
    """JSON."""


class Script(Record, frozen=True, kw_only=True):
    """What the model says, and what a server must make of it."""

    name: str
    says: str
    thinking: bool = False
    """What the template is told: a parser may take for granted that a model thinks where it is let."""
    content: str = ""
    reasoning: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    ends_with: str | None = None
    """The token that ends it; None: the format's own."""


class Format(Record, frozen=True, kw_only=True):
    """One way of writing turns, thoughts and calls."""

    bos: str
    eos: str
    other_eos: str
    """One more token at which a model stops; only generation_config.json names it."""
    special: tuple[str, ...]
    """Markers that are not part of an answer's text."""
    plain: tuple[str, ...]
    """Markers of one token that are."""
    tools: str
    """The name of its tool calls, which engines' files translate."""
    reasoning: str
    """The same for its thoughts."""
    scripts: tuple[Script, ...] = msgspec.field(name="script")


def trigger(number: int) -> str:
    """The word in a user's message that makes a scripted checkpoint say its script of this number."""
    return f"<|script-{number}|>"


@cache
def load(name: str) -> Format:
    """The format of that name."""
    return msgspec.toml.decode((FOLDER / name / "scripts.toml").read_bytes(), type=Format)


def template(name: str) -> str:
    """Its Jinja template."""
    return (FOLDER / name / "template.jinja").read_text()


def tool(name: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """A function's definition as OpenAI's route takes it; all of its parameters are required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": f"The harbour's {name.replace('_', ' ')}.", "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = (
    tool("list_ports"),
    tool("tide_at", port={"type": "string", "description": 'Its name, as on the chart: "Århus", say.'}),
    tool("signal", text={"type": "string"}),
    tool("find_ships", filter={"type": "object"}, limit={"type": ["integer", "null"]}, moored={"type": "boolean"}),
)
"""What the scripts call."""
