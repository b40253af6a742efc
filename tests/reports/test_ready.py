"""When an engine was ready first, and how surely that is known."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.ready import Span, State, Tried, bounds, interval, span

FIRST = dt.date(2026, 1, 1)
CAME = dt.date(2025, 12, 22)
LETTERS: dict[str, State] = {"+": "right", "x": "short", "?": "unknown"}


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=10 * number)


def tried(told: str) -> list[Tried]:
    """A release every ten days, a letter each."""
    return [
        Tried(release=f"e-{number}", released=day(number), state=LETTERS[letter]) for number, letter in enumerate(told)
    ]


def found(told: str) -> Span:
    return span(tried(told), until=day(len(told)))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("x+", "20"),
        ("+", "at most 10"),
        ("?+", "at most 20"),
        ("x?+", "20 to 30"),
        ("xx??+x+", "30 to 50"),
        ("x", "at least 20"),
        ("xx?", "at least 30"),
        ("??", "not known"),
        ("", "not known"),
    ],
)
def test_days_are_as_sharp_as_the_releases_let_them_be(told: str, said: str) -> None:
    """From a day ten days before the first release: + right, x falls short, ? nobody knows."""
    assert interval(*bounds(found(told), CAME)) == said


def test_an_engine_may_have_it_before_the_day_that_is_counted_from() -> None:
    """Days are negative then."""
    assert interval(*bounds(found("x+"), day(3))) == "-20"


def test_what_is_lost_again_is_named() -> None:
    """By the first release that falls short after one that did not."""
    assert (found("x+?xx").lost_in, found("x+?").lost_in) == ("e-3", None)


@given(count=st.integers(1, 12), first=st.integers(0, 12), hidden=st.sets(st.integers(0, 11)))
def test_the_truth_lies_between_the_bounds_whatever_is_not_known(count: int, first: int, hidden: set[int]) -> None:
    """Of an engine that is right from some release on, any releases of which may be unknown."""
    told = "".join("?" if place in hidden else "+" if place >= first else "x" for place in range(count))
    known = found(told)
    truth = day(min(first, count))  # not before the day until which there was no other
    assert known.earliest is None or known.earliest <= truth
    assert known.latest is None or known.latest >= truth
    exact = known.latest is not None and known.earliest == known.latest
    assert exact == (0 < first < count and not {first - 1, first} & hidden)


@given(st.text("+x?", max_size=12))
def test_the_order_in_which_releases_are_told_does_not_matter(told: str) -> None:
    """They are dated."""
    assert span(list(reversed(tried(told))), until=day(len(told))) == found(told)
