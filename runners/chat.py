"""Chat as engines serve it: OpenAI's route, and what each of them does in another way.

What a server made of the model's words (reasoning, content, calls) is kept as it came; whether it is right is judged
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from matrix.cells import Model, Record

Json = Any
"""A decoded JSON answer: an engine may send any shape, and parsers raise KeyError/TypeError on a wrong one."""

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where engines put what a model thinks, in messages and in deltas: the first name is the older one."""


class ChatAsk(Record, frozen=True, kw_only=True):
    """One greedy chat request."""

    model: str
    """The name that the server knows the model by."""
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    thinking: bool | None = None
    """What the template is told; None: nothing, so that it does what it does by itself."""
    max_tokens: int
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    """JSON schema that the answer must obey."""
    regex: str | None = None
    """Regular expression that the whole answer must match."""


class Call(Record, frozen=True, kw_only=True):
    """One tool call."""

    id: str
    name: str
    arguments: str
    """JSON, as the server wrote it."""


class Reply(Record, frozen=True, kw_only=True):
    """What came back for a `ChatAsk`, whole or put together from a stream."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_ids: tuple[int, ...] | None = None
    """The prompt as the server gave it to the model; None where it does not say."""
    token_ids: tuple[int, ...] | None = None
    """What was generated; None where the server does not say."""


class Chat(Record, frozen=True, kw_only=True):
    """How one engine's chat route is spoken to."""

    path: str = "/v1/chat/completions"
    extra: dict[str, Any] = {}
    """Sent with every request that is no stream: what makes it tell more."""
    serves: bool = True
    """False where the route is a shim of ours over the engine's own chat call: how that takes a bad request is ours."""
    prompt_ids: Callable[[Json], Iterable[int] | None] = lambda answer: None
    """Of a whole answer."""
    token_ids: Callable[[Json], Iterable[int] | None] = lambda answer: None
    """Of a whole answer."""
    render: tuple[str, str] | None = None
    """A route that renders messages alone, and the field of its answer that holds the text."""
    template_arguments: bool = True
    """False where nothing but messages and tools reaches the template."""
    schemas: bool = True
    """False where it has no structured output."""
    regex: Callable[[str], dict[str, Any]] | None = None
    """What makes an answer match a regular expression; None where that cannot be asked for."""
    tool_formats: Mapping[str, str] | None = None
    """The engine's names of parsers by our names of formats; None: it finds out by itself, from the template."""
    tools_need_parser: bool = False
    """Whether it refuses tools where no parser of their calls was named."""
    reasoning_formats: Mapping[str, str] | None = None
    """The same for what a model thinks."""

    def tool_parser(self, model: Model) -> str | None:
        """The engine's name for the parser of a model's tool calls; None where it needs none, or has none."""
        return (self.tool_formats or {}).get(model.tools or "")

    def reasoning_parser(self, model: Model) -> str | None:
        """The same for what a model thinks."""
        return (self.reasoning_formats or {}).get(model.reasoning or "")

    def body(self, ask: ChatAsk, *, stream: bool = False) -> dict[str, Any]:
        """The request."""
        body: dict[str, Any] = {
            "model": ask.model,
            "messages": list(ask.messages),
            "max_tokens": ask.max_tokens,
            "temperature": 0,
        }
        if ask.tools:
            body |= {"tools": list(ask.tools), "tool_choice": "auto"}
        if ask.thinking is not None and self.template_arguments:
            body["chat_template_kwargs"] = {"enable_thinking": ask.thinking}
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.schema is not None:
            named = {"name": "answer", "schema": ask.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if ask.regex is not None and self.regex is not None:
            body |= self.regex(ask.regex)
        if not stream:
            return {**body, **self.extra}
        return {**body, "stream": True, "stream_options": {"include_usage": True}}

    def parse(self, answer: Json) -> Reply:
        """A whole answer."""
        choice = answer["choices"][0]
        message = choice["message"]
        prompt_ids, token_ids = self.prompt_ids(answer), self.token_ids(answer)
        return Reply(
            content=message.get("content") or "",
            reasoning=_reasoning(message),
            calls=tuple(map(_call, message.get("tool_calls") or ())),
            finish_reason=choice["finish_reason"],
            **_usage(answer.get("usage") or {}),
            prompt_ids=None if prompt_ids is None else tuple(prompt_ids),
            token_ids=None if token_ids is None else tuple(token_ids),
        )

    def assemble(self, events: Iterable[Json]) -> Reply:
        """What a stream says, put together as any client does it: text in order, calls by their index."""
        content, reasoning, finish_reason = "", "", None
        calls: dict[int, dict[str, str]] = {}
        usage: dict[str, Any] = {}
        for event in events:
            if event.get("usage"):
                usage = _usage(event["usage"])
            for choice in event["choices"][:1]:
                delta = choice.get("delta") or {}
                content += delta.get("content") or ""
                reasoning += _reasoning(delta)
                for part in delta.get("tool_calls") or ():
                    _add(calls.setdefault(part.get("index", 0), {"id": "", "name": "", "arguments": ""}), part)
                finish_reason = choice.get("finish_reason") or finish_reason
        made = tuple(Call(**calls[index]) for index in sorted(calls))
        return Reply(content=content, reasoning=reasoning, calls=made, finish_reason=finish_reason, **usage)


def _reasoning(message: Json) -> str:
    return next((message[field] for field in REASONING_FIELDS if message.get(field)), "")


def _usage(usage: Json) -> dict[str, Any]:
    return {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def _call(call: Json) -> Call:
    function = call["function"]
    return Call(id=call.get("id") or "", name=function["name"], arguments=function.get("arguments") or "")


def _add(call: dict[str, str], part: Json) -> None:
    function = part.get("function") or {}
    call["id"] = part.get("id") or call["id"]
    call["name"] += function.get("name") or ""
    call["arguments"] += function.get("arguments") or ""
