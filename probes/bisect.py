"""Which release to try next, so that the first with a fault is found in a logarithmic number of trials. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matrix.bisection import Outcome, border
from matrix.results import Result, Status


def following(count: int, known: Mapping[int, Outcome], *, from_good: bool) -> int | None:
    """The index to try next of `count` releases, the last of which is bad; None where nothing is left to learn.

    The last one comes first: a fault that it does not show cannot be searched for. `from_good`: the first is believed
    to be good, and comes next. Else it is gone backwards by twice as much every time until one is good. Between a good
    one and a bad one the untried one nearest to the middle is taken, so releases that cannot be tried cost one trial
    each, as in `git bisect skip`.
    """
    last = count - 1
    if last not in known:
        return last
    if known[last] != "bad":
        return None
    if from_good and 0 not in known:
        return 0
    low, high = border(known)
    assert high is not None
    if low is not None:
        return _middle(low, high, known)
    if known.get(0) == "bad":
        return None
    backwards = (index for index in _backwards(last) if index not in known)
    return next(backwards, None) if not _all_tried(last, known) else _oldest_testable(high, known)


def _backwards(last: int) -> Iterator[int]:
    distance = 1
    while distance < last:
        yield last - distance
        distance *= 2
    yield 0


def _all_tried(last: int, known: Mapping[int, Outcome]) -> bool:
    return all(index in known for index in _backwards(last))


def _oldest_testable(high: int, known: Mapping[int, Outcome]) -> int | None:
    """Old releases could not be tried: how far back it can be said is found in the same way."""
    below = [index for index in known if index < high]
    return _middle(max(below), high, known) if below else None


def _middle(low: int, high: int, known: Mapping[int, Outcome]) -> int | None:
    untried = (index for index in range(low + 1, high) if index not in known)
    return min(untried, key=lambda index: (abs(2 * index - low - high), index), default=None)


def telling(results: Sequence[Result], probe: str) -> Result | None:
    """The result that says how a probe went; where the engine broke before it, the one that says so."""
    by_probe = {result.probe: result for result in results}
    asked = by_probe.get(probe)
    if asked is not None and asked.verdict.status is not Status.NOTRUN:
        return asked
    broke = [result for result in results if result.verdict.status.blames_engine]
    return broke[0] if broke else asked
