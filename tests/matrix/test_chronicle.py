"""What is known of an engine's releases, after one look and after the next."""

from __future__ import annotations

import datetime as dt

from matrix.chronicle import Chronicle, Moment, continued


def chronicle(since: int, until: int, **untried: str) -> Chronicle:
    """Between two days of January; by the day of its release, why a release was not tried."""
    moments = [
        Moment(release=f"fake-{day[1:]}", released=dt.date(2026, 1, int(day[1:])), untried=why)
        for day, why in untried.items()
    ]
    return Chronicle(
        engine="fake", distribution="fake-cpu", dated_by="fake", since=dt.date(2026, 1, since),
        until=dt.date(2026, 1, until), moments=tuple(moments),
    )  # fmt: skip


def test_the_first_look_is_all_that_is_known() -> None:
    """It is kept as it is, below its engine's name."""
    first = chronicle(1, 9, _3="")
    assert continued(None, first) == first
    assert first.file == "fake.json"


def test_a_release_that_was_tried_stays_tried_and_the_longer_time_counts() -> None:
    """A later look that does not choose it says nothing about it; one that failed before may have been tried since."""
    before = chronicle(1, 9, _3="", _5="it did not resolve", _7="not chosen")
    after = chronicle(4, 20, _3="not chosen", _5="", _7="it did not build", _12="")
    assert continued(before, after) == chronicle(1, 20, _3="", _5="", _7="it did not build", _12="")


def test_releases_are_told_in_the_order_of_their_days() -> None:
    """A look further back finds what came before."""
    assert continued(chronicle(5, 9, _7=""), chronicle(1, 9, _3="")) == chronicle(1, 9, _3="", _7="")
