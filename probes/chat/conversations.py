"""Conversations whose rendering is compared with the template's own, token for token.

Each is a turn of phrase that some engine's own code for messages, or its tokenizer call, has once got wrong: a system
prompt dropped, tool results wrapped or emptied, a BOS put before the template's own, characters normalised.
"""

from __future__ import annotations

from typing import Any

from matrix.cells import Record
from probes.chat.formats import TOOLS

Message = dict[str, Any]


class Conversation(Record, frozen=True, kw_only=True):
    """What a template is given."""

    name: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    thinking: bool | None = None


def user(text: str) -> Message:
    """A user's message."""
    return {"role": "user", "content": text}


def system(text: str) -> Message:
    """A system prompt."""
    return {"role": "system", "content": text}


def assistant(text: str) -> Message:
    """What the model is said to have answered."""
    return {"role": "assistant", "content": text}


def calls(name: str, arguments: str) -> Message:
    """What the model is said to have called."""
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }


def result(text: str) -> Message:
    """What the call gave."""
    return {"role": "tool", "tool_call_id": "call_1", "name": "tide_at", "content": text}


GREETING = "Name three things that float."

CONVERSATIONS = (
    Conversation(name="one question", messages=(user(GREETING),)),
    Conversation(name="a system prompt", messages=(system("You answer in one line."), user(GREETING))),
    Conversation(
        name="several turns",
        messages=(
            system("You answer in one line."),
            user("What is a reef?"),
            assistant("A bank of rock below the water."),
            user("  And a shoal? \n"),
        ),
    ),
    Conversation(name="an empty answer", messages=(user("Are you there?"), assistant(""), user("Hello?"))),
    Conversation(
        name="unusual characters",
        messages=(
            user(
                "e\u0301 and \u00e9, \ufb01 and fi, \u200bzero width, \U0001f3f4\u200d\u2620\ufe0f, "
                "\u0627\u0644\u0628\u062d\u0631, 1\u00a0000\u202fm, \ttab\r\nend"
            ),
        ),
    ),
    Conversation(name="tools", messages=(user("When is high water in \u00c5rhus?"),), tools=TOOLS),
    Conversation(
        name="a tool's result",
        messages=(
            user("When is high water in \u00c5rhus?"),
            calls("tide_at", '{"port": "\u00c5rhus"}'),
            result('{"high": "12:04", "note": "spring tide \u263e"}'),
        ),
        tools=TOOLS,
    ),
    Conversation(name="thinking on", messages=(user(GREETING),), thinking=True),
    Conversation(name="thinking off", messages=(user(GREETING),), thinking=False),
)
