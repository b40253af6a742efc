"""What a streamed answer says about speed, by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cells import Shape
from probes import loads
from probes.client import Arrival
from probes.loads import Asked
from probes.streamed import Streamed, streamed
from runners.engine import Chunk


def arrivals(*chunks: Chunk, start_s: float = 0.5, gap_s: float = 0.1) -> list[Arrival]:
    return [Arrival(chunk=chunk, at_s=start_s + gap_s * index) for index, chunk in enumerate(chunks)]


def ids(count: int, text: str = "x") -> Chunk:
    return Chunk(text=text, token_ids=(7,) * count)


USAGE = Chunk(prompt_tokens=5, completion_tokens=9)


def test_several_tokens_in_an_event_are_several_tokens() -> None:
    """Events of 4, 4 and 1: the first four cost no time after TTFT, the other five took 0.2 s."""
    found = streamed(arrivals(ids(4), ids(4), ids(1), USAGE))
    assert (found.total, found.usage_tokens, found.id_tokens, found.prompt_tokens) == (9, 9, 9, 5)
    assert found.ttft_s == pytest.approx(0.5)
    assert found.end_s == pytest.approx(0.7)
    assert found.tpot_s == pytest.approx(0.2 / 5)
    assert found.gaps_s == pytest.approx([0.1, 0.1])
    assert found.token_gaps_s == pytest.approx([0.025] * 4 + [0.1])


def test_with_a_token_per_event_tpot_is_vllms() -> None:
    """(latency - TTFT) / (n - 1)."""
    found = streamed(arrivals(*[ids(1)] * 9, USAGE))
    assert found.tpot_s == pytest.approx(0.8 / 8)


def test_running_usage_tells_the_tokens_of_events() -> None:
    """Without ids, what the count grew by; an event that adds none, though it repeats the text, carries none."""
    counts = (1, 1, 4, 9)
    found = streamed(arrivals(*(Chunk(text="all so far", completion_tokens=count) for count in counts)))
    assert found.at_s == pytest.approx((0.5, 0.7, 0.8))
    assert (found.tokens, found.counted) == ((1, 3, 5), True)


def test_usage_at_the_end_tells_the_total_alone() -> None:
    """Text without counts: the tokens of each event are not known, their total is."""
    found = streamed(arrivals(Chunk(text="two words"), Chunk(text=" more"), Chunk(finished=True), USAGE))
    assert found.at_s == pytest.approx((0.5, 0.6))
    assert (found.counted, found.total) == (False, 9)
    assert len(found.token_gaps_s) == 0
    assert found.tpot_s == pytest.approx(0.1 / 8)


def test_an_event_without_tokens_is_no_first_token() -> None:
    """A role, an empty text, a heartbeat: TTFT waits for a token."""
    found = streamed(arrivals(Chunk(), Chunk(token_ids=()), ids(1), USAGE))
    assert found.ttft_s == pytest.approx(0.7)


@pytest.mark.parametrize("chunks", [[], [Chunk(finished=True)]])
def test_nothing_came(chunks: list[Chunk]) -> None:
    """No token: no time, and no number of them unless the stream says one."""
    found = streamed(arrivals(*chunks))
    assert (found.ttft_s, found.end_s, found.tpot_s, found.total) == (None, None, None, None)


def test_everything_at_once_has_no_tpot() -> None:
    """One event with every token."""
    assert streamed(arrivals(ids(9))).tpot_s is None


SHAPES = (Shape(id="D1", prompt_tokens=8, output_tokens=8), Shape(id="M", turns=3, prompt_tokens=8, output_tokens=2))
counts = st.none() | st.integers(0, 10**6)
events = st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 9)), max_size=6)
answers = st.builds(
    lambda sent_s, events, counted, prompt, usage, ids: Streamed(
        sent_s=sent_s,
        at_s=tuple(at_s for at_s, _ in events),
        tokens=tuple(tokens for _, tokens in events),
        counted=counted,
        prompt_tokens=prompt,
        usage_tokens=usage,
        id_tokens=ids,
    ),
    st.floats(0, 1e9), events, st.booleans(), counts, counts, counts,
)  # fmt: skip
asked = st.builds(
    lambda shape, repeat, turn, answer: Asked(shape=shape, repeat=repeat, turn=turn, answer=answer),
    st.sampled_from(["D1", "M"]), st.integers(0, 9), st.integers(-1, 3), answers,
)  # fmt: skip


@given(st.lists(asked, max_size=8))
def test_tables_give_back_what_they_were_given(made: list[Asked]) -> None:
    """Whatever came, unknown counts and empty answers too."""
    assert loads.from_tables(loads.to_tables(made, SHAPES), SHAPES) == made


@given(st.lists(st.tuples(st.floats(0.001, 1), st.integers(1, 9)), min_size=1, max_size=20))
def test_gaps_per_token_add_up_to_gaps_per_event(events: list[tuple[float, int]]) -> None:
    """Spreading a gap over its tokens loses no time and no token."""
    ends = np.cumsum([gap for gap, _ in events])
    found = streamed([Arrival(chunk=ids(n), at_s=float(end)) for end, (_, n) in zip(ends, events, strict=True)])
    assert found.token_gaps_s.sum() == pytest.approx(found.gaps_s.sum())
    assert len(found.token_gaps_s) == sum(n for _, n in events[1:])
