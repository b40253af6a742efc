"""When an engine first ran an architecture rightly: between which days, as far as its releases say. Pure.

What was measured long after a release holds from the day of that release on. Between the last release that is known to
fall short and the first that does not there may be some of which nothing is known: then only an interval is known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from matrix.cells import Record

State = Literal["right", "short", "unknown"]


class Tried(Record, frozen=True, kw_only=True):
    """A release of an engine, and what it made of an architecture."""

    release: str
    released: dt.date
    state: State
    """`unknown`: it was not tried, or the build at hand cannot tell."""


class Span(Record, frozen=True, kw_only=True):
    """The day of the first release that was right, by its bounds."""

    earliest: dt.date | None
    """The first release that can have been right: the one after the last that falls short; None: nothing is known."""
    latest: dt.date | None
    """The first release that was right; None where none was."""
    release: str | None
    """That release."""
    lost_in: str | None
    """The first later release that falls short again."""


def span(tried: Sequence[Tried], until: dt.date) -> Span:
    """The bounds, from releases in any order; `until` is the day on which there were no others yet."""
    tried = sorted(tried, key=lambda one: one.released)
    first = next((index for index, one in enumerate(tried) if one.state == "right"), len(tried))
    short = [index for index, one in enumerate(tried[:first]) if one.state == "short"]
    after = tried[short[-1] + 1 :] if short else []
    later = [one.release for one in tried[first:] if one.state == "short"]
    return Span(
        earliest=(after[0].released if after else until) if short else None,
        latest=tried[first].released if first < len(tried) else None,
        release=tried[first].release if first < len(tried) else None,
        lost_in=later[0] if later else None,
    )


def bounds(found: Span, since: dt.date) -> tuple[int | None, int | None]:
    """Days from a day to the bounds."""
    low = None if found.earliest is None else (found.earliest - since).days
    high = None if found.latest is None else (found.latest - since).days
    return low, high


def interval(low: int | None, high: int | None) -> str:
    """`12`, `12 to 40`, `at most 40`, `at least 40`, or `not known`."""
    if low is None and high is None:
        return "not known"
    if low is None:
        return f"at most {high}"
    if high is None:
        return f"at least {low}"
    return str(high) if low == high else f"{low} to {high}"
