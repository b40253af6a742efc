"""Protocol: what stands between the model and who talks to it over the chat route.

The prompt that the model is given is its template's own, token for token; answers end where they must and say why; a
stream says what the whole answer says; thoughts and tool calls are found in what the model wrote; structure and stop
words are obeyed; and what cannot be answered is refused without harm. Parsers are judged by a checkpoint that says what
is written down (`probes/chat/scripted.py`), never by what a model happens to write.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from tokenizers import Tokenizer

from matrix.cells import Cell, ScriptSource
from matrix.results import Measurement, Status, Verdict
from probes.chat import checks, formats
from probes.chat.conversations import CONVERSATIONS, Conversation, user
from probes.chat.exchange import Exchange, Listed, Protocol
from probes.chat.renders import Rendered
from probes.client import Attempt, Client, connect
from probes.probe import Bench, Probe
from runners.chat import Chat, ChatAsk
from runners.engine import Ask, Prompt, Server

CUT, WHOLE, SCRIPTED, STRUCTURED = 3, 48, 400, 64
"""Tokens at most, of a question cut short, in whole, of what is written down, and of what obeys a schema."""
TIMES = 3
"""A question is asked; the first time fills the cache that the others read."""
TEMPERATURE = 0.5
LONGEST_BAD = {"cpu": 4096}
LONGEST_BAD_ELSEWHERE = 16384
"""Tokens of a context that a request is made too long for: with more, an engine that computes it all is long busy."""
SAID = 300
BAD = "bad requests"

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


# --- measuring --------------------------------------------------------------------------------------------


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """Everything that this engine and this model have."""
    if server.engine.chat is None:
        return Measurement(values={})
    renders = bench.reference.renders(CONVERSATIONS)
    if not renders.templated:
        return Measurement(values={"templated": False})
    values = asyncio.run(_measure(server, cell, bench))
    return Measurement(values=msgspec.to_builtins(values, str_keys=True))


async def _measure(server: Server, cell: Cell, bench: Bench) -> Protocol:
    tokenizer, renders = bench.reference.tokenizer(), bench.reference.renders(CONVERSATIONS)
    async with connect(server, bench.watch, vocabulary=bench.reference.coverage().rows) as client:
        asker = Talker(client, server, cell)
        asked = [
            (conversation, ways)
            for conversation, ways in zip(CONVERSATIONS, renders.rendered, strict=True)
            if asker.can_tell(conversation)
        ]
        talked = [_with_text(await asker.render(one), ways[0], tokenizer) for one, ways in asked]
        whole = await asker.times("an answer", WHOLE)
        full = checks.repeated(whole)
        word = stop_word(full.content if full is not None else "")
        values = Protocol(
            renders=renders,
            conversations=tuple(talked),
            cut=await asker.ask("an answer cut short", asker.question, CUT),
            whole=whole,
            streamed=await asker.times("a streamed answer", WHOLE, stream=True),
            decoded=_decoded(tokenizer, full.token_ids if full is not None else None),
            stop_texts=tuple(filter(None, (tokenizer.id_to_token(one) for one in renders.stops))),
            stop_word=word,
            stopped=await asker.stopped(word) if word is not None else (),
            format=asker.format,
            scripts=await asker.scripts(),
            scripts_streamed=await asker.scripts(stream=True),
            schema=await asker.structured("a JSON schema", schema=checks.SCHEMA) if asker.has_schemas else None,
            regex=await asker.structured("a regular expression", regex=checks.REGEX) if asker.has_regex else None,
            listed=await _listed(client, server, renders.rendered[0][0].ids, tokenizer) if asker.free else (),
            bad=await asker.bad(),
            unasked=asker.unasked,
        )
        return msgspec.structs.replace(values, afterwards=await asker.times("an answer after bad requests", WHOLE))


def _with_text(found: Exchange, expected: Rendered, tokenizer: Tokenizer) -> Exchange:
    """The same with its prompt as text, which says more than ids; where the tokenizer gives text back as it was."""
    ids = found.reply.prompt_ids if found.reply is not None else None
    if ids is None or tokenizer.decode(list(expected.ids), skip_special_tokens=False) != expected.text:
        return found
    return msgspec.structs.replace(found, prompt_text=tokenizer.decode(list(ids), skip_special_tokens=False))


def _decoded(tokenizer: Tokenizer, ids: Sequence[int] | None) -> str | None:
    return None if ids is None else tokenizer.decode(list(ids))


def stop_word(text: str) -> str | None:
    """A word inside a text, with the space before it; None where it has too few."""
    words = text.split(" ")
    middle = len(words) // 2
    return f" {words[middle]}" if middle >= 2 and words[middle] else None


async def _listed(client: Client, server: Server, ids: tuple[int, ...], tokenizer: Tokenizer) -> tuple[Listed, ...]:
    """The first token's logprobs, greedy and at a temperature; none where the engine gives none."""
    if not server.engine.max_top_k or not ids:
        return ()
    prompt = Prompt(token_ids=ids, text=tokenizer.decode(list(ids), skip_special_tokens=False))
    found = []
    for temperature in (0.0, TEMPERATURE):
        ask = Ask(
            model=server.model, prompt=prompt, max_tokens=1, top_k=server.engine.max_top_k, ignore_eos=True,
            temperature=temperature, seed=1,
        )  # fmt: skip
        scores = (await client.generate(ask)).scores
        if scores is None or not len(scores.top_ids):
            return ()
        pairs = zip(scores.top_ids[0].tolist(), scores.top_logprobs[0].tolist(), strict=True)
        found.append(Listed(temperature=temperature, logprobs={one: logprob for one, logprob in pairs if one >= 0}))
    return tuple(found)


class Talker:
    """Asks one engine over its chat route."""

    def __init__(self, client: Client, server: Server, cell: Cell) -> None:
        assert server.engine.chat is not None
        self._client = client
        self._server = server
        self._cell = cell
        self._chat: Chat = server.engine.chat
        source = cell.model.source
        self.format = source.format if isinstance(source, ScriptSource) else None
        self.unasked = dict(_unasked(self._chat, cell, ours=server.log_path is not None))

    @property
    def free(self) -> bool:
        """Whether the model says what it likes."""
        return self.format is None

    @property
    def has_schemas(self) -> bool:
        """Whether an answer can be asked to obey a schema."""
        return self.free and self._chat.schemas

    @property
    def has_regex(self) -> bool:
        """The same for an expression."""
        return self.free and self._chat.regex is not None

    @property
    def question(self) -> Conversation:
        """What is asked over and over."""
        if self.format is None:
            return CONVERSATIONS[0]
        return Conversation(name="a script", messages=(user(formats.trigger(0)),), thinking=False)

    def can_tell(self, conversation: Conversation) -> bool:
        """Whether all of a conversation reaches the template."""
        if conversation.tools and "tools" in self.unasked:
            return False
        return conversation.thinking is None or self._chat.template_arguments

    async def render(self, conversation: Conversation) -> Exchange:
        """A conversation, for the prompt that it becomes."""
        found = await self.ask(conversation.name, conversation, 1)
        if self._chat.render is None or found.reply is None or found.reply.prompt_ids is not None:
            return found
        path, field = self._chat.render
        attempt = await self._client.attempt(path, self._chat.body(self._asked(conversation, 1)))
        text = attempt.body.get(field) if attempt.status == 200 and isinstance(attempt.body, dict) else None
        return msgspec.structs.replace(found, prompt_text=text)

    async def ask(
        self, name: str, conversation: Conversation, max_tokens: int, *, stream: bool = False, **more: Any
    ) -> Exchange:
        """One request, refused or not."""
        body = self._chat.body(self._asked(conversation, max_tokens, **more), stream=stream)
        attempt = await self._client.attempt(self._chat.path, body, stream=stream)
        return self._exchange(name, attempt, max_tokens, stream=stream)

    async def times(self, name: str, max_tokens: int, *, stream: bool = False) -> tuple[Exchange, ...]:
        """The question, several times alike."""
        count = TIMES - 1 if stream else TIMES
        found = [await self.ask(name, self.question, max_tokens, stream=stream) for _ in range(count)]
        return tuple(found)

    async def stopped(self, word: str) -> tuple[Exchange, ...]:
        """The question with a stop word, whole and as a stream."""
        how = {"a stop word": False, "a stop word in a stream": True}
        asked = [
            await self.ask(name, self.question, WHOLE, stop=(word,), stream=stream) for name, stream in how.items()
        ]
        return tuple(asked)

    async def structured(self, name: str, **constraint: Any) -> Exchange:
        """A question whose answer must obey a constraint."""
        asked = Conversation(
            name=name, messages=(user("Describe a light: its colour, whether it is lit, its sectors."),)
        )
        return await self.ask(name, asked, STRUCTURED, **constraint)

    async def scripts(self, *, stream: bool = False) -> tuple[Exchange, ...]:
        """What is written down, script by script; nothing of a model that says what it likes."""
        found = []
        for number, script in enumerate(formats.load(self.format).scripts if self.format is not None else ()):
            tools = formats.TOOLS if script.calls else ()
            asked = Conversation(
                name=script.name, messages=(user(formats.trigger(number)),), tools=tools, thinking=script.thinking
            )
            name = f"{script.name}, streamed" if stream else script.name
            found.append(await self.ask(name, asked, SCRIPTED, stream=stream))
        return tuple(found)

    async def bad(self) -> tuple[Exchange, ...]:
        """Requests that cannot be answered."""
        found = []
        if BAD in self.unasked:
            return ()
        for name, body in bad_requests(self._chat, self._server.model, self._cell).items():
            attempt = await self._client.attempt(self._chat.path, body)
            said = json.dumps(attempt.body)[:SAID]
            found.append(Exchange(name=name, status=attempt.status, said=said))
        return tuple(found)

    def _asked(self, conversation: Conversation, max_tokens: int, **more: Any) -> ChatAsk:
        return ChatAsk(
            model=self._server.model, messages=conversation.messages, tools=conversation.tools,
            thinking=conversation.thinking, max_tokens=max_tokens, **more,
        )  # fmt: skip

    def _exchange(self, name: str, attempt: Attempt, max_tokens: int, *, stream: bool) -> Exchange:
        if attempt.status != 200:
            said = json.dumps(attempt.body, ensure_ascii=False)[:SAID]
            return Exchange(name=name, status=attempt.status, said=said, max_tokens=max_tokens)
        reply = self._client.parsed(self._chat.assemble if stream else self._chat.parse, attempt.body)
        return Exchange(name=name, reply=reply, max_tokens=max_tokens)


def _unasked(chat: Chat, cell: Cell, *, ours: bool) -> Iterable[tuple[str, str]]:
    """What is not asked of an engine on a model, and why."""
    for what, told, known in (
        ("tool calls", cell.model.tools, chat.tool_formats),
        ("reasoning", cell.model.reasoning, chat.reasoning_formats),
    ):
        if told is None:
            yield what, "only of a checkpoint that says what is written down"
        elif known is not None and told not in known:
            yield what, f"this engine has no parser for the format {told!r} that its file knows of"
    if chat.tools_need_parser and chat.tool_parser(cell.model) is None:
        yield "tools", "the engine takes them only with a parser, and the model is said to write no calls"
    if not chat.template_arguments:
        yield "thinking on and off", "nothing but messages and tools reaches the template"
    if not chat.serves:
        yield BAD, "the engine's own chat call stands behind a route of ours"
    elif not ours:
        yield BAD, "the server is somebody else's, and might not live on"
    if not isinstance(cell.model.source, ScriptSource):
        if not chat.schemas:
            yield "a JSON schema", "the engine has none"
        if chat.regex is None:
            yield "a regular expression", "the engine has none"


def bad_requests(chat: Chat, model: str, cell: Cell) -> dict[str, dict[str, Any] | bytes]:
    """Requests that no server can answer, by what is wrong with them."""
    good = chat.body(ChatAsk(model=model, messages=CONVERSATIONS[0].messages, max_tokens=1))
    bad: dict[str, dict[str, Any] | bytes] = {
        "no JSON": b'{"model": ',
        "no messages": {name: value for name, value in good.items() if name != "messages"},
        "messages that are no list": {**good, "messages": 7},
        "a message without a role": {**good, "messages": [{"content": "Hello"}]},
        "max_tokens that is no number": {**good, "max_tokens": "many"},
        "a temperature that is no number": {**good, "temperature": "warm"},
    }
    if cell.model.context_length <= LONGEST_BAD.get(cell.device.kind, LONGEST_BAD_ELSEWHERE):
        long = user("buoy " * (cell.model.context_length + 64))
        bad["a prompt longer than the context"] = {**good, "messages": [long]}
    if not cell.model.text_only:
        image = {"type": "image_url", "image_url": {"url": PIXEL}}
        bad["an image for a model of text"] = {**good, "messages": [{"role": "user", "content": [image]}]}
    if chat.schemas:
        schema = {"name": "answer", "schema": {"type": "nonsense"}, "strict": True}
        bad["a schema that is none"] = {**good, "response_format": {"type": "json_schema", "json_schema": schema}}
    return bad


# --- judging ----------------------------------------------------------------------------------------------


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """FAIL where an answer or its end is wrong; DEGRADED where only bad requests are taken badly."""
    if not measurement.values:
        return Verdict(status=Status.SKIP, reason="this engine has no chat route of its own")
    if measurement.values.get("templated") is False:
        return Verdict(status=Status.SKIP, reason="the checkpoint has no chat template")
    values = msgspec.convert(measurement.values, Protocol, str_keys=True)
    faults = {name: list(check(values)) for name, check in checks.CHECKS.items()}
    lesser = {name: list(check(values)) for name, check in checks.LESSER.items()}
    evidence = dict(_evidence(values))
    for name, found in (faults | lesser).items():
        if found:
            evidence[name] = "; ".join(found)
    for status, group in ((Status.FAIL, faults), (Status.DEGRADED, lesser)):
        told = [f"{name}: {_some(found)}" for name, found in group.items() if found]
        if told:
            return Verdict(status=status, reason="; ".join(told), evidence=evidence)
    return Verdict(status=Status.PASS, reason=_asked_of(values), evidence=evidence)


def _some(found: Sequence[str], shown: int = 2) -> str:
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    return "; ".join(found[:shown]) + more


def _asked_of(values: Protocol) -> str:
    told = sum(
        exchange.reply is not None and exchange.reply.prompt_ids is not None for exchange in values.conversations
    )
    texts = sum(exchange.prompt_text is not None for exchange in values.conversations)
    how = "by their ids" if told else "by their text and number of tokens" if texts else "by their number of tokens"
    parts = [f"{len(values.conversations)} conversations are rendered as the template does, {how}"]
    if values.scripts:
        parts.append(f"{len(values.scripts)} prescribed answers are read rightly, whole and streamed")
    if values.bad:
        parts.append(f"{len(values.bad)} bad requests are refused")
    parts += _untold(values)
    unasked = [f"{what} ({why})" for what, why in values.unasked.items()]
    return "; ".join((*parts, f"not asked: {', '.join(unasked)}" if unasked else "")).removesuffix("; ")


def _untold(values: Protocol) -> Iterable[str]:
    """What was asked and proves nothing."""
    if checks.repeated(values.whole) is None or checks.repeated(values.streamed) is None:
        yield "greedy answers to the same question differ, so streams were not compared"
    for exchange in (values.schema, values.regex):
        if exchange is not None and exchange.reply is not None and exchange.reply.finish_reason == "length":
            yield f"the answer to {exchange.name} did not come to its end"


def _evidence(values: Protocol) -> Iterable[tuple[str, str]]:
    if (kind := checks.logprobs_are(values)) != "":
        yield "logprobs at a temperature are", kind
    for exchange in values.bad:
        yield f"answer to {exchange.name}", str(exchange.status)


PROBE = Probe(name="protocol", version=1, tier="standard", order=6, deadline_s=600, measure=measure, judge=judge)
