"""The events of a stream, however its bytes arrive."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import EngineBrokeProtocol
from probes.recording import events

SAID = [{"text": "a"}, {"text": "é ☾"}, {"text": "\n"}]
WHOLE = ": a comment\n\n" + "".join(f"data: {json.dumps(one, ensure_ascii=False)}\r\n\r\n" for one in SAID)
DONE = "data: [DONE]\n\ndata: after the end\n\n"


def read(*parts: bytes) -> list[tuple[int, Any]]:
    """Parts that came at the times 0, 1, 2, …"""
    return list(events(enumerate(parts)))


@given(st.lists(st.integers(0, len(WHOLE.encode())), max_size=12))
def test_wherever_bytes_are_cut_the_events_are_the_same(cuts: list[int]) -> None:
    """Within a character too; comments are none, and what follows the end is not looked at."""
    data = WHOLE.encode()
    places = [0, *sorted(cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(places)]
    assert [event for _, event in read(*parts, DONE.encode())] == SAID


def test_an_event_comes_when_its_last_byte_does() -> None:
    """The line's end, or the stream's where it has none."""
    assert read(b'data: {"a"', b": 1}\n", b"data: 2") == [(1, {"a": 1}), (2, 2)]
    assert read(b"data: 1\n", b"data: [DONE]") == [(0, 1)]
    assert read() == []


def test_numbers_that_are_none_are_read_and_words_are_not() -> None:
    """NaN is for the judge; what is no JSON breaks the protocol."""
    ((_, event),) = read(b"data: [Infinity]\n")
    assert event == [float("inf")]
    with pytest.raises(EngineBrokeProtocol, match="a stream event is no JSON: b'oops'"):
        read(b"data: oops\n")
