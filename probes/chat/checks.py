"""Whether what came back over a chat route is what the template, OpenAI's route and the scripts say. Pure.

Each check gives sentences, one a fault. What a model happens to say is never one: greedy answers are compared with each
other only where the engine repeats them, and thoughts and calls are judged on prescribed words alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from math import inf
from typing import Any

import jsonschema
import numpy as np

from probes.chat import formats
from probes.chat.conversations import CONVERSATIONS
from probes.chat.exchange import Exchange, Listed, Protocol
from probes.chat.formats import Script
from probes.chat.renders import Rendered
from runners.chat import Reply

SHOWN = 60
"""Characters or so of what is quoted."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "blue"]},
        "lit": {"type": "boolean"},
        "sectors": {"type": "array", "items": {"enum": ["north", "south"]}, "minItems": 2, "maxItems": 2},
    },
    "required": ["colour", "lit", "sectors"],
    "additionalProperties": False,
}
REGEX = "(red|green|blue)-[0-9]{2}"
LONGEST_MATCH = len("green-00")
"""Both are short, so that any model ends within them."""

APART = 1.0
"""Nats between two ids, from which on the slope of their logprobs is told from rounding."""
SLOPE = 0.15
"""By how much of itself a slope may differ from what a temperature makes of it."""
ROUNDING = 0.25
"""Nats that a logprob may move without being another."""

Check = Callable[[Protocol], Iterator[str]]


def quoted(text: str) -> str:
    """A text's beginning, as it is written in a program."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def parting(found: str, expected: str) -> str:
    """Where two texts part, and how each goes on from shortly before."""
    place = next((i for i, (a, b) in enumerate(zip_longest(found, expected)) if a != b), len(expected))
    start = max(place - SHOWN // 4, 0)
    return f"{quoted(found[start:])} where {quoted(expected[start:])} was expected"


# --- the prompt -------------------------------------------------------------------------------------------


def rendering(values: Protocol) -> Iterator[str]:
    """The prompt of each conversation is the template's own, token for token, as far as the engine tells it."""
    names = [conversation.name for conversation in CONVERSATIONS]
    expected = dict(zip(names, values.renders.rendered, strict=True))
    for exchange in values.conversations:
        ways = [one for one in expected[exchange.name] if not one.refused]
        fault = _misrendered(exchange, ways, values.renders.bos) if ways else None
        if fault is not None:
            yield f"{exchange.name}: {fault}"


def _misrendered(exchange: Exchange, ways: list[Rendered], bos: int | None) -> str | None:
    reply = exchange.reply
    if reply is None:
        return f"refused with {exchange.status}, though the template takes it: {quoted(exchange.said)}"
    if reply.prompt_ids is not None:
        if any(reply.prompt_ids == way.ids for way in ways):
            return None
        return _other_ids(reply.prompt_ids, exchange.prompt_text, ways[0], bos)
    if exchange.prompt_text is not None and not any(way.text.endswith(exchange.prompt_text) for way in ways):
        return f"renders {parting(exchange.prompt_text, ways[0].text)}"  # a BOS in front may be its tokenizer's
    if reply.prompt_tokens is not None and all(reply.prompt_tokens != len(way.ids) for way in ways):
        return f"counts {reply.prompt_tokens} tokens of a prompt that has {len(ways[0].ids)}"
    return None


def _other_ids(found: tuple[int, ...], text: str | None, way: Rendered, bos: int | None) -> str:
    if bos is not None and found.count(bos) != way.ids.count(bos):
        return f"its prompt has {found.count(bos)} BOS where the template gives {way.ids.count(bos)}"
    if text is not None and text != way.text:
        return f"its prompt of {len(found)} tokens, not {len(way.ids)}, has {parting(text, way.text)}"
    place = next((i for i, (a, b) in enumerate(zip_longest(found, way.ids)) if a != b), 0)
    return (
        f"its prompt of {len(found)} tokens parts from the template's {len(way.ids)} at position {place}: "
        f"{list(found[place : place + 5])} where {list(way.ids[place : place + 5])} was expected"
    )


def usage(values: Protocol) -> Iterator[str]:
    """Tokens are counted as they are: not more than was allowed, as many as are told, and the sum is their sum."""
    for exchange in (values.cut, *values.whole[:1], *values.streamed[:1], *values.scripts, *values.scripts_streamed):
        reply = exchange.reply
        if reply is None:
            continue
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            if exchange not in (*values.streamed, *values.scripts_streamed):  # of a stream, not everybody tells it
                yield f"{exchange.name}: tells no usage"
            continue
        if reply.completion_tokens > exchange.max_tokens:
            yield f"{exchange.name}: counts {reply.completion_tokens} tokens where {exchange.max_tokens} were allowed"
        if reply.token_ids is not None and reply.completion_tokens != len(reply.token_ids):
            yield f"{exchange.name}: counts {reply.completion_tokens} tokens where it generated {len(reply.token_ids)}"
        if reply.prompt_ids is not None and reply.prompt_tokens != len(reply.prompt_ids):
            yield f"{exchange.name}: counts {reply.prompt_tokens} tokens of a prompt of {len(reply.prompt_ids)}"
        total = reply.prompt_tokens + reply.completion_tokens
        if reply.total_tokens not in (None, total):
            yield f"{exchange.name}: a total of {reply.total_tokens} tokens where its parts make {total}"


# --- the end ----------------------------------------------------------------------------------------------


def ending(values: Protocol) -> Iterator[str]:
    """It stops at every id at which generation ends, never behind one, and says why it stopped."""
    cut, whole = values.cut.reply, values.whole[0].reply
    if cut is None or whole is None:
        missing = values.cut if cut is None else values.whole[0]
        yield f"{missing.name}: refused with {missing.status}: {quoted(missing.said)}"
        return
    longer = (whole.completion_tokens or 0) > values.cut.max_tokens
    if longer and cut.finish_reason != "length":
        yield f"{values.cut.name}: says it ended by {cut.finish_reason!r} where it ran out of tokens"
    for exchange in (values.cut, *values.whole[:1]):
        ids = exchange.reply.token_ids if exchange.reply is not None else None
        early = [place for place, one in enumerate(ids or ()) if one in values.renders.stops][:1]
        if ids is not None and early and early[0] < len(ids) - 1:
            yield f"{exchange.name}: goes on behind id {ids[early[0]]}, at which generation ends"
    for exchange in (*values.whole[:1], *values.streamed[:1]):
        written = [text for text in values.stop_texts if exchange.reply is not None and text in exchange.reply.content]
        if written:
            yield f"{exchange.name}: the answer holds {written[0]!r}, at which generation ends"


def stop_words(values: Protocol) -> Iterator[str]:
    """A stop word ends the answer right before it, and is not part of it.

    Where exactly is judged on prescribed words alone: a model may say something else the next time.
    """
    word, full = values.stop_word, repeated(values.whole)
    if word is None or full is None:
        return
    before = full.content.partition(word)[0]
    for exchange in values.stopped:
        if exchange.reply is None:
            yield f"{exchange.name}: refused with {exchange.status}: {quoted(exchange.said)}"
            continue
        content = exchange.reply.content
        if word in content:
            yield f"{exchange.name}: the answer holds it: {quoted(content)}"
        elif values.format is None:
            continue
        elif exchange.reply.finish_reason != "stop":
            yield f"{exchange.name}: ended by {exchange.reply.finish_reason!r}"
        elif content.strip() != before.strip():
            yield f"{exchange.name}: {parting(content, before)}"


# --- streams ----------------------------------------------------------------------------------------------


def streams(values: Protocol) -> Iterator[str]:
    """A stream says what the whole answer says; of a model that says what it likes, no less of as many tokens."""
    whole, streamed = repeated(values.whole), repeated(values.streamed)
    if values.streamed and values.streamed[0].reply is None:
        first = values.streamed[0]
        yield f"{first.name}: refused with {first.status}: {quoted(first.said)}"
    if whole is not None and streamed is not None and (values.format is not None or _cut_off(streamed, whole)):
        yield from (f"{values.streamed[0].name}: {fault}" for fault in _unlike(streamed, whole))
    for one, other in zip(values.scripts, values.scripts_streamed, strict=True):
        if one.reply is not None and other.reply is not None:
            yield from (f"{other.name}: {fault}" for fault in _unlike(other.reply, one.reply))


def _cut_off(streamed: Reply, whole: Reply) -> bool:
    """Whether of as many tokens a stream gives less text, which is lost at its beginning or its end."""
    found, expected = streamed.content.strip(), whole.content.strip()
    less = found != expected and (expected.startswith(found) or expected.endswith(found))
    return less and streamed.completion_tokens == whole.completion_tokens


def _unlike(streamed: Reply, whole: Reply) -> Iterator[str]:
    for field in ("reasoning", "content"):
        found, expected = getattr(streamed, field), getattr(whole, field)
        if found.strip() != expected.strip():
            yield f"streamed {field} is {parting(found.strip(), expected.strip())}"
    if [(call.name, _decoded(call.arguments)) for call in streamed.calls] != [
        (call.name, _decoded(call.arguments)) for call in whole.calls
    ]:
        yield f"streams {_told(streamed)} and gives {_told(whole)} as a whole"
    for field in ("finish_reason", "completion_tokens", "prompt_tokens"):
        found, expected = getattr(streamed, field), getattr(whole, field)
        if found != expected and None not in (found, expected):
            yield f"{field} is {found!r} in the stream and {expected!r} in the whole answer"


def repeated(exchanges: tuple[Exchange, ...]) -> Reply | None:
    """The reply that the engine gave each time; None where greedy answers to the same question differ.

    The first, which fills the cache that the others read, may differ from them by its rounding.
    """
    replies = [exchange.reply for exchange in exchanges[1:] or exchanges]
    first = replies[0] if replies else None
    return first if first is not None and all(one and one.content == first.content for one in replies) else None


def decoding(values: Protocol) -> Iterator[str]:
    """The text is that of the ids."""
    reply = values.whole[0].reply
    if values.decoded is None or reply is None:
        return
    found, expected = reply.reasoning + reply.content, values.decoded
    if values.format is None and not reply.reasoning and found.strip() != expected.strip():
        yield f"its text is {parting(found.strip(), expected.strip())}, by its own ids"


# --- prescribed words -------------------------------------------------------------------------------------


def scripts(values: Protocol) -> Iterator[str]:
    """Thoughts, content and calls are found in prescribed words, and the reason of the end is theirs."""
    if values.format is None:
        return
    told = formats.load(values.format).scripts
    for exchanges in (values.scripts, values.scripts_streamed):
        for script, exchange in zip(told, exchanges, strict=True):
            if exchange.reply is None:
                yield f"{exchange.name}: refused with {exchange.status}: {quoted(exchange.said)}"
            else:
                yield from (f"{exchange.name}: {fault}" for fault in _misread(exchange.reply, script, values.unasked))


def _misread(reply: Reply, script: Script, unasked: Mapping[str, str]) -> Iterator[str]:
    if {"reasoning", "tool calls"} & unasked.keys():  # what nobody reads stays as it was written
        if reply.content.strip() != script.says.strip():
            yield f"content is {parting(reply.content.strip(), script.says.strip())}"
        return
    if reply.reasoning.strip() != script.reasoning:
        yield f"reasoning is {parting(reply.reasoning.strip(), script.reasoning)}"
    if reply.content.strip() != script.content:
        yield f"content is {parting(reply.content.strip(), script.content)}"
    expected = [(call.name, json.loads(call.arguments)) for call in script.calls]
    if [(call.name, _decoded(call.arguments)) for call in reply.calls] != expected:
        yield f"gives {_told(reply)} where the model wrote {_listed(expected)}"
    if len({call.id for call in reply.calls if call.id}) < len(reply.calls):
        yield f"its calls have the ids {[call.id for call in reply.calls]}"
    ended = "tool_calls" if script.calls else "stop"
    if reply.finish_reason != ended:
        yield f"says it ended by {reply.finish_reason!r} and not by {ended!r}"


def _decoded(arguments: str) -> Any:
    """What arguments say; text that is no JSON as a text of its own kind."""
    try:
        return json.loads(arguments)
    except ValueError:
        return ("no JSON", arguments)


def _told(reply: Reply) -> str:
    return _listed([(call.name, _decoded(call.arguments)) for call in reply.calls])


def _listed(calls: list[tuple[str, Any]]) -> str:
    named = (f"{name}({json.dumps(arguments, ensure_ascii=False)})" for name, arguments in calls)
    return quoted(", ".join(named)) if calls else "no call"


# --- answers under constraints ----------------------------------------------------------------------------


def structure(values: Protocol) -> Iterator[str]:
    """What is asked to obey a schema or an expression does, where it came to its end."""
    for exchange in (values.schema, values.regex):
        if exchange is not None and exchange.reply is None:
            yield f"{exchange.name}: refused with {exchange.status}: {quoted(exchange.said)}"
    schema, regex = _finished(values.schema), _finished(values.regex)
    if schema is not None:
        try:
            jsonschema.validate(json.loads(schema), SCHEMA)
        except (ValueError, jsonschema.ValidationError) as error:
            yield f"a JSON schema: {quoted(schema)} does not obey it: {str(error).splitlines()[0]}"
    if schema is None and _text(values.schema) and not _text(values.schema).startswith("{"):
        yield f"a JSON schema: {quoted(_text(values.schema))} cannot become what obeys it"
    regex = _text(values.regex) if len(_text(values.regex)) > LONGEST_MATCH else regex
    if regex is not None and re.fullmatch(REGEX, regex.strip()) is None:
        yield f"a regular expression: {quoted(regex)} does not match {REGEX}"


def _text(exchange: Exchange | None) -> str:
    return exchange.reply.content.strip() if exchange is not None and exchange.reply is not None else ""


def _finished(exchange: Exchange | None) -> str | None:
    if exchange is None or exchange.reply is None or exchange.reply.finish_reason == "length":
        return None
    return exchange.reply.content


def temperature(values: Protocol) -> Iterator[str]:
    """Logprobs at a temperature are the model's own or those that were drawn from, and nothing between."""
    if logprobs_are(values) == "neither":
        cold, warm = values.listed
        best = max(cold.logprobs, key=cold.logprobs.__getitem__)
        yield (
            f"at temperature {warm.temperature:g} the likeliest id has {warm.logprobs.get(best, -inf):.2f}, and "
            f"{cold.logprobs[best]:.2f} where greedy: neither the model's own logprobs nor those drawn from"
        )


def logprobs_are(values: Protocol) -> str:
    """`raw`, `processed` or `neither`; empty where it cannot be told."""
    if len(values.listed) < 2:
        return ""
    cold, warm = values.listed
    common = sorted(set(cold.logprobs) & set(warm.logprobs), key=lambda one: -cold.logprobs[one])
    far = [one for one in common if cold.logprobs[common[0]] - cold.logprobs[one] > APART]
    if not far:
        return ""
    slope = float(np.median([_below(warm, common[0], one) / _below(cold, common[0], one) for one in far]))
    best = warm.logprobs[common[0]] - cold.logprobs[common[0]]
    if abs(slope - 1) < SLOPE:
        return "raw" if abs(best) < ROUNDING else "neither"
    processed = abs(slope * warm.temperature - 1) < SLOPE and best > -ROUNDING  # below 1 the likeliest gains
    return "processed" if processed else "neither"


def _below(listed: Listed, best: int, one: int) -> float:
    return listed.logprobs[best] - listed.logprobs[one]


# --- bad requests -----------------------------------------------------------------------------------------


def refusals(values: Protocol) -> Iterator[str]:
    """What cannot be answered is refused, and it is said to be the request's fault."""
    for exchange in values.bad:
        if exchange.status >= 500:
            yield f"{exchange.name}: {exchange.status}, as if it were the server's own fault: {quoted(exchange.said)}"
        elif exchange.status < 400:
            yield f"{exchange.name}: answered as if it were right"


def survival(values: Protocol) -> Iterator[str]:
    """After bad requests the server answers; prescribed words as before."""
    before, after = repeated(values.whole), repeated(values.afterwards)
    if values.afterwards and values.afterwards[0].reply is None:
        yield f"after bad requests a good one is refused with {values.afterwards[0].status}"
    elif values.format is not None and before is not None and after is not None and before.content != after.content:
        yield f"after bad requests the answer is {parting(after.content, before.content)}"


CHECKS: dict[str, Check] = {
    "prompt": rendering,
    "usage": usage,
    "end": ending,
    "stop words": stop_words,
    "streams": streams,
    "text": decoding,
    "prescribed words": scripts,
    "structured output": structure,
    "logprobs at a temperature": temperature,
    "after bad requests": survival,
}
LESSER: dict[str, Check] = {"bad requests": refusals}
"""What falls short without making an answer wrong."""
