"""The text of a pull request of what was discovered; the rest of it is tested with the command."""

from __future__ import annotations

import datetime as dt

from matrix.discover import Discovery, LeftOut
from reports import discovered
from reports.discovered import BODY, NAMES

DAY = dt.date(2026, 1, 2)


def text(*left_out: LeftOut, unasked: tuple[str, ...] = ()) -> str:
    return discovered.render(Discovery(day=DAY, since=DAY, left_out=left_out, unasked=unasked))


def left(count: int, reason: str, name: str = "lab/model") -> list[LeftOut]:
    return [LeftOut(name=name and f"{name}-{number}", reason=reason) for number in range(count)]


def test_what_was_left_out_is_counted_by_reason_the_most_frequent_first_with_a_few_names() -> None:
    """Of what must not be told there are no names."""
    lines = text(*left(2, "private", name=""), *left(NAMES + 2, "no weights")).splitlines()
    assert "No new model." in lines
    told = [line for line in lines if line.startswith("- ")]
    assert told[0].startswith("- 12: no weights: `lab/model-0`, ") and told[0].endswith("`lab/model-9` and 2 more")
    assert told[1:] == ["- 2: private"]


def test_a_strangers_name_mentions_nobody() -> None:
    """It stands in code, short."""
    told = text(LeftOut(name="@someone/`x`\n#1" + "y" * 999, reason="no weights"), unasked=("@someone: 503",))
    assert "- 1: no weights: ``@someone/`x` #1yyy" in told
    assert "- `@someone: 503`" in told
    assert max(map(len, told.splitlines())) < 300


def test_a_text_that_is_too_long_ends_with_a_line_and_says_so() -> None:
    """GitHub would refuse it."""
    told = text(*(one for number in range(2000) for one in left(1, f"reason {number} {'x' * 40}")))
    assert BODY - 200 < len(told) <= BODY + 100
    *_, last, empty, said = told.splitlines()
    assert last.startswith("- 1: reason ") and last.endswith("-0`")
    assert (empty, said) == ("", "The rest is too long for this place.")
