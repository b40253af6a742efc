"""What a checkpoint's own chat template makes of conversations: `python -P rendering --model FOLDER --asked FILE`.

Prints one line of JSON: `templated`, `bos` and `stops` (the ids at which generation ends, as the tokenizer, config.json
and generation_config.json name them), and `rendered`: for each conversation the ways to render it, each {"text", "ids"}
or {"refused": why}. There are two ways where calls are in it: OpenAI's route gives their arguments as JSON in a string,
templates take objects as a rule, and some take the string. Standalone: it runs in the reference's environment and
imports nothing of this project.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

CONFIGS = ("config.json", "generation_config.json")


def rendered(tokenizer: Any, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The ways to render one conversation that differ."""
    found: list[dict[str, Any]] = []
    for messages in (with_objects(asked["messages"]), asked["messages"]):
        one = render(tokenizer, messages, asked)
        if one not in found:
            found.append(one)
    return [one for one in found if "text" in one] or found


def render(tokenizer: Any, messages: list[Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The prompt's text and its ids."""
    given = {} if asked["thinking"] is None else {"enable_thinking": asked["thinking"]}
    try:
        text = tokenizer.apply_chat_template(
            messages, tools=asked["tools"] or None, add_generation_prompt=True, tokenize=False, **given
        )
    except Exception as error:  # a template raises what it likes
        return {"refused": f"{type(error).__name__}: {error}"}
    return {"text": text, "ids": tokenizer(text, add_special_tokens=False)["input_ids"]}


def with_objects(messages: list[Any]) -> list[Any]:
    """The same messages with the arguments of calls as objects."""
    messages = copy.deepcopy(messages)
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


def stops(tokenizer: Any, folder: Path) -> list[int]:
    """Every id at which generation ends."""
    found = {tokenizer.eos_token_id}
    for name in CONFIGS:
        path = folder / name
        named = json.loads(path.read_text()).get("eos_token_id") if path.is_file() else None
        found.update(named if isinstance(named, list) else [named])
    return sorted(found - {None})


def main(arguments: Sequence[str]) -> int:
    """Answer one call; its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--asked", type=Path, required=True)
    options = parser.parse_args(arguments)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    asked = json.loads(options.asked.read_text())
    templated = bool(tokenizer.chat_template)
    told = {
        "templated": templated,
        "bos": tokenizer.bos_token_id,
        "stops": stops(tokenizer, options.model),
        "rendered": [rendered(tokenizer, conversation) for conversation in asked] if templated else [],
    }
    print(json.dumps(told))
    return 0


def command() -> Callable[[Sequence[str]], int]:
    """The main function, for a process that calls it many times."""
    return main


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
