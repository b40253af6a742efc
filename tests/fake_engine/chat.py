"""The fake engine's chat route: OpenAI's, over a format of `probes/chat/formats`, and what can go wrong in it.

A prompt's tokens are its UTF-8 bytes, and BOS. A message that holds a script's trigger is answered with what the script
says, cut into pieces; any other by the tiny model. Behaviours, each with what is the same but right beside it:

    doubled-bos                 the tokenizer puts one before the template's own   | bos-by-tokenizer: instead of it
    bos-lost                    there is none
    system-lost                 the first system prompt is left out
    tool-result-lost            tool results are rendered empty
    normalises                  the prompt's characters are composed (NFC)
    missing-stop                goes on behind the end that generation_config.json names
    empty-call-lost             calls without arguments are dropped                | respaces: arguments written anew
    second-call-lost            only the first call is kept
    leaks-reasoning             what is thought stays in the content               | other-field: `reasoning` names it
    content-as-reasoning        without a thought, the content counts as one
    calls-as-content            calls stay in the content
    same-call-ids               all calls have the same id
    cut-characters              streamed pieces are decoded one by one
    last-piece-lost             the last piece of a stream is not sent             | pieces=N: N tokens an event
    stream-without-calls        streams give calls as content
    usage-twice                 completion tokens count twice                      (serve.py)
    usage-lost                  prompt tokens are those of the last message alone
    always-stop                 finish_reason is stop where it was length
    stop-kept                   the stop word stays in the text
    unconstrained               schema and regex are not heeded
    accepts-anything            bad requests are answered as good ones
    breaks-on-bad               bad requests are answered with 500
    dies-of-bad                 … and end the server
    ill-of-bad                  answers are others after one
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

FORMAT = Path(__file__).parents[2] / "probes" / "chat" / "formats" / "hermes"
BOS_ID = 299
PIECE = 3
"""Characters or bytes of a script's token."""
TRIGGER = re.compile(r"<\|script-(\d+)\|>")
CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>\n?", re.DOTALL)
THOUGHT = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)

LONGEST = 2048
"""Characters of a conversation."""
TYPES = {"object", "array", "boolean", "integer"}
GIVEN = "red-42"
"""Matches the expression that is asked for."""


class Refused(Exception):
    """A request that is answered with 400."""


class Chat:
    """Renders, generates, and makes a message of it."""

    def __init__(self, told: dict[str, str], model: Any) -> None:
        self.told = told
        self.model = model
        self.format = tomllib.loads((FORMAT / "scripts.toml").read_text())
        environment = jinja2.Environment(autoescape=False)
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self.template = environment.from_string((FORMAT / "template.jinja").read_text())
        self.ill = False

    # --- the prompt

    def prompt_ids(self, ask: dict[str, Any]) -> list[int]:
        """The ids of the rendered prompt."""
        text = self.text(ask)
        if {"bos-by-tokenizer", "bos-lost"} & self.told.keys():
            text = text.removeprefix(self.format["bos"])
        ids = encode(text, self.format["bos"])
        return [BOS_ID, *ids] if {"doubled-bos", "bos-by-tokenizer"} & self.told.keys() else ids

    def text(self, ask: dict[str, Any]) -> str:
        messages = copy.deepcopy(list(ask["messages"]))
        if "system-lost" in self.told and messages[0]["role"] == "system":
            messages = messages[1:]
        for message in messages:
            if message["role"] == "tool" and "tool-result-lost" in self.told:
                message["content"] = ""
            for call in message.get("tool_calls", ()):
                call["function"] = {**call["function"], "arguments": json.loads(call["function"]["arguments"])}
        given = ask.get("chat_template_kwargs", {})
        text = self.template.render(
            messages=messages, tools=ask.get("tools"), add_generation_prompt=True, bos_token=self.format["bos"], **given
        )
        return unicodedata.normalize("NFC", text) if "normalises" in self.told else text

    # --- what is generated

    def script(self, ask: dict[str, Any]) -> tuple[list[bytes], str] | None:
        """Tokens of the script that the last message asks for, and why it ends; None where it asks for none."""
        found = TRIGGER.search(str(ask["messages"][-1].get("content")))
        if found is None:
            return None
        script = self.format["script"][int(found[1])]
        data = script["says"].encode()
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        if "missing-stop" in self.told and script.get("ends_with") == self.format["other_eos"]:
            pieces.append(script["ends_with"].encode())
            pieces += [b" and"] * max(ask["max_tokens"] - len(pieces), 0)
            return pieces[: ask["max_tokens"]], "length"
        return (pieces, "stop") if len(pieces) < ask["max_tokens"] else (pieces[: ask["max_tokens"]], "length")

    # --- what is made of it

    def message(self, text: str, *, stream: bool = False) -> dict[str, Any]:
        """Reasoning, content and calls of a whole text."""
        thought, text = self.thought(text)
        calls, content = self.calls(text)
        if stream and "stream-without-calls" in self.told:
            calls, content = [], text
        message: dict[str, Any] = {"role": "assistant", "content": content or None}
        if thought:
            message["reasoning" if "other-field" in self.told else "reasoning_content"] = thought
        if calls:
            message["tool_calls"] = calls
        return message

    def thought(self, text: str) -> tuple[str, str]:
        found = THOUGHT.match(text)
        if found is None:
            return (text, "") if "content-as-reasoning" in self.told else ("", text)
        if "leaks-reasoning" in self.told:
            return "", text
        return found[1].strip(), text[found.end() :].lstrip()

    def calls(self, text: str) -> tuple[list[dict[str, Any]], str]:
        calls = []
        for number, found in enumerate(CALL.findall(text)):
            call = json.loads(found)
            if not call["arguments"] and "empty-call-lost" in self.told:
                continue
            separators = (",", ":") if "respaces" in self.told else None
            arguments = json.dumps(call["arguments"], ensure_ascii=False, separators=separators)
            number = 0 if "same-call-ids" in self.told else number
            function = {"name": call["name"], "arguments": arguments}
            calls.append({"id": f"call-{number}", "type": "function", "function": function})
        if "second-call-lost" in self.told:
            calls = calls[:1]
        return ([], text) if "calls-as-content" in self.told else (calls, CALL.sub("", text).rstrip())

    def deltas(self, pieces: list[bytes]) -> Iterator[dict[str, Any]]:
        """What a stream says, event by event: as much of the whole message as the text so far is sure of."""
        if "last-piece-lost" in self.told:
            pieces = pieces[:-1]
        step = int(self.told.get("pieces", "1"))
        said = {"reasoning": "", "content": ""}
        if "cut-characters" in self.told:
            for piece in pieces:
                yield {"content": piece.decode(errors="replace")}
            return
        for end in [*range(step, len(pieces), step), len(pieces)]:
            message = self.message(sure(b"".join(pieces[:end]), end == len(pieces)), stream=True)
            reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
            for field, now in (("reasoning", reasoning), ("content", message["content"] or "")):
                if len(now) > len(said[field]) and now.startswith(said[field]):
                    named = field if field == "content" or "other-field" in self.told else "reasoning_content"
                    yield {named: now[len(said[field]) :]}
                    said[field] = now
        for index, call in enumerate(message.get("tool_calls", ())):
            half = len(call["function"]["arguments"]) // 2
            first, second = call["function"]["arguments"][:half], call["function"]["arguments"][half:]
            yield {"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": first}}]}
            yield {"tool_calls": [{"index": index, "function": {"arguments": second}}]}

    # --- requests

    def respond(self, raw: bytes) -> tuple[int, Any]:
        """Status and body of an answer, or the events of a stream."""
        try:
            ask = json.loads(raw)
            self.check(ask)
        except (ValueError, AttributeError, TypeError, Refused) as error:
            return self.refuse(str(error))
        prompt = self.prompt_ids(ask)
        pieces, ids, reason = self.generated(ask, prompt)
        if self.ill:
            pieces.reverse()
        told = {"prompt_tokens": self.counted(ask, prompt), "completion_tokens": len(pieces)}
        if "usage-twice" in self.told:
            told["completion_tokens"] *= 2
        told["total_tokens"] = sum(told.values())
        text = b"".join(pieces).decode(errors="replace")
        message = self.message(text)
        finish = "tool_calls" if message.get("tool_calls") else "stop" if "always-stop" in self.told else reason
        if ask.get("stream"):
            return 200, self.stream(pieces, finish, told)
        choice = {"message": message, "finish_reason": finish, "token_ids": ids}
        return 200, {"choices": [choice], "usage": told, "prompt_token_ids": prompt}

    def stream(self, pieces: list[bytes], finish: str, usage: dict[str, int]) -> Iterator[dict[str, Any]]:
        for delta in self.deltas(pieces):
            yield {"choices": [{"delta": delta, "finish_reason": None}]}
        yield {"choices": [{"delta": {}, "finish_reason": finish}]}
        yield {"choices": [], "usage": usage}

    def generated(self, ask: dict[str, Any], prompt: list[int]) -> tuple[list[bytes], list[int] | None, str]:
        """Tokens as bytes, their ids where they have any, and why they end."""
        scripted = self.script(ask)
        if scripted is not None:
            return self.stopped(ask, scripted[0], None, scripted[1])
        obedient = self.constrained(ask)
        if obedient is not None:
            return [obedient.encode()], None, "stop"
        events = list(self.model.generate(ask, prompt))
        reason = events[-1]["finish_reason"] if events else "stop"
        pieces = [event["text"].encode() for event in events]
        if reason == "stop":
            pieces[-1:] = [b""]  # an end has no text
        return self.stopped(ask, pieces, [event["token_id"] for event in events], reason)

    def stopped(
        self, ask: dict[str, Any], pieces: list[bytes], ids: list[int] | None, reason: str
    ) -> tuple[list[bytes], list[int] | None, str]:
        """The same up to the first stop word."""
        for number in range(len(pieces)):
            if any(word.encode() in b"".join(pieces[: number + 1]) for word in ask.get("stop", ())):
                kept = b"".join(pieces[: number + 1])
                for word in () if "stop-kept" in self.told else ask["stop"]:
                    kept = kept.partition(word.encode())[0]
                return [kept], None, "stop"
        return pieces, ids, reason

    def counted(self, ask: dict[str, Any], prompt: list[int]) -> int:
        """Tokens of the prompt, as usage tells them."""
        return len(str(ask["messages"][-1]["content"]).encode()) if "usage-lost" in self.told else len(prompt)

    def refuse(self, why: str) -> tuple[int, Any]:
        """The answer to a bad request."""
        self.ill = "ill-of-bad" in self.told
        if "accepts-anything" in self.told:
            return 200, {"choices": []}
        if "dies-of-bad" in self.told:
            raise SystemExit
        return 500 if "breaks-on-bad" in self.told else 400, {"error": why}

    def check(self, ask: Any) -> None:
        """Raise Refused for a request that is none."""
        messages = ask.get("messages")
        if not isinstance(messages, list) or not all("role" in message for message in messages):
            raise Refused("messages are a list of objects with a role")
        if not isinstance(ask.get("max_tokens", 1), int) or not isinstance(ask.get("temperature", 0), int | float):
            raise Refused("max_tokens and temperature are numbers")
        if any(not isinstance(message.get("content") or "", str) for message in messages):
            raise Refused("this model takes text alone")
        if sum(len(message.get("content") or "") for message in messages) > LONGEST:
            raise Refused("the prompt is longer than the context")
        named = ask.get("response_format", {}).get("json_schema", {"schema": {"type": "object"}})
        if named["schema"]["type"] not in TYPES:
            raise Refused("no such type")
        named = {tool["function"]["name"] for tool in ask.get("tools", ())}
        if isinstance(ask.get("tool_choice"), dict) and ask["tool_choice"]["function"]["name"] not in named:
            raise Refused("no such tool")

    def constrained(self, ask: dict[str, Any]) -> str | None:
        """An answer that obeys the request's schema or expression; None where there is neither."""
        if "unconstrained" in self.told:
            return None
        if "regex" in ask:
            return GIVEN
        named = ask.get("response_format", {}).get("json_schema")
        return None if named is None else json.dumps(instance(named["schema"]))


def encode(text: str, bos: str) -> list[int]:
    """Bytes as ids, and a BOS in front where the text begins with it."""
    rest = text.removeprefix(bos)
    return ([BOS_ID] if rest != text else []) + list(rest.encode())


def sure(data: bytes, whole: bool) -> str:
    """The text so far without what may yet become a marker, or a part of one, or a character."""
    text = data.decode(errors="ignore")
    if whole:
        return text
    if text.rfind("<") > text.rfind(">"):
        text = text[: text.rfind("<")]
    for opens, closes in (("<think>", "</think>"), ("<tool_call>", "</tool_call>")):
        if text.rfind(opens) > text.rfind(closes):
            text = text[: text.rfind(opens)]
    return text


def instance(schema: dict[str, Any]) -> Any:
    """The first thing that a simple schema allows."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return {name: instance(inner) for name, inner in schema["properties"].items()}
        case "array":
            return [instance(schema["items"])] * schema.get("minItems", 0)
        case "boolean":
            return True
        case _:
            return 0
