"""Which of an engine's past releases are asked."""

from __future__ import annotations

import datetime as dt

import pytest

from probes import past
from runners.releases import Past

RELEASES = [Past(version=f"1.{number}", released=dt.date(2026, 1, 1 + number)) for number in range(6)]


def versions(chosen: list[Past]) -> list[str]:
    return [one.version.removeprefix("1.") for one in chosen]


@pytest.mark.parametrize(
    ("most", "chosen"), [(None, "012345"), (9, "012345"), (6, "012345"), (3, "025"), (2, "05"), (1, "5")]
)
def test_of_many_releases_some_are_chosen_evenly_with_both_ends(most: int | None, chosen: str) -> None:
    """Of one the last, which is today's."""
    assert versions(past.spread(RELEASES, most)) == list(chosen)


@pytest.mark.parametrize(("day", "last", "found"), [(3, "1.4", "234"), (1, "9.9", "012345"), (20, "1.5", "")])
def test_releases_since_a_day_end_with_that_of_the_tables(day: int, last: str, found: str) -> None:
    """What came later is not pinned; a version that the index does not have bounds nothing."""
    assert versions(past.since(RELEASES, dt.date(2026, 1, day), last)) == list(found)
