"""Chat: requests as OpenAI's route takes them, and replies put together from answers and from streams."""

from __future__ import annotations

from typing import Any

import msgspec

from runners.chat import Call, Chat, ChatAsk, Reply
from tests.fake_engine.bench import CELL

ASK = ChatAsk(model="m", messages=({"role": "user", "content": "Hello"},), max_tokens=4)


def test_a_request_holds_what_was_asked_and_no_more() -> None:
    """What makes a server tell more goes with whole answers alone: some refuse it for streams."""
    chat = Chat(extra={"return_token_ids": True})
    plain = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "temperature": 0}
    assert chat.body(ASK) == {**plain, "return_token_ids": True}
    assert chat.body(ASK, stream=True) == {**plain, "stream": True, "stream_options": {"include_usage": True}}
    thinking = msgspec.structs.replace(ASK, thinking=False, stop=("x",))
    assert chat.body(thinking) == {
        **plain, "return_token_ids": True, "stop": ["x"], "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert "chat_template_kwargs" not in Chat(template_arguments=False).body(thinking)


def test_an_engine_s_parsers_are_named_by_its_own_words() -> None:
    """Where it has one for the model's format; an engine that finds out by itself is told nothing."""
    chat = Chat(tool_formats={"hermes": "qwen"}, reasoning_formats={})
    model = msgspec.structs.replace(CELL.model, tools="hermes", reasoning="qwen3")
    assert (chat.tool_parser(model), chat.reasoning_parser(model)) == ("qwen", None)
    assert (Chat().tool_parser(model), chat.tool_parser(CELL.model)) == (None, None)


def test_a_whole_answer_is_read() -> None:
    """Null content, either name of the field of thoughts, and calls."""
    function = {"name": "f", "arguments": "{}"}
    message = {
        "content": None,
        "reasoning": "so",
        "tool_calls": [{"id": "1", "type": "function", "function": function}],
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    answer = {"choices": [{"message": message, "finish_reason": "tool_calls", "ids": [7]}], "usage": usage}
    chat = Chat(token_ids=lambda given: given["choices"][0]["ids"])
    assert chat.parse(answer) == Reply(
        reasoning="so", calls=(Call(id="1", name="f", arguments="{}"),), finish_reason="tool_calls",
        prompt_tokens=3, completion_tokens=2, total_tokens=5, token_ids=(7,),
    )  # fmt: skip


def event(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"delta": delta, "finish_reason": finish_reason}]}


def part(index: int, **function: str) -> dict[str, Any]:
    return {"index": index, "function": function}


def test_a_stream_is_put_together_as_any_client_does_it() -> None:
    """Text in order, calls by their index, usage from an event without choices."""
    events = [
        event(role="assistant", content=""),
        event(reasoning_content="s"),
        event(reasoning_content="o"),
        event(content="a"),
        event(tool_calls=[{**part(1, name="g", arguments='{"x"'), "id": "2"}]),
        event(tool_calls=[{**part(0, name="f", arguments=""), "id": "1"}]),
        event(tool_calls=[part(1, arguments=": 1}")]),
        event(content="b"),
        event(finish_reason="tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}},
    ]
    assert Chat().assemble(events) == Reply(
        content="ab", reasoning="so", finish_reason="tool_calls", prompt_tokens=3, completion_tokens=9,
        calls=(Call(id="1", name="f", arguments=""), Call(id="2", name="g", arguments='{"x": 1}')),
    )  # fmt: skip
