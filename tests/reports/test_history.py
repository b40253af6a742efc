"""Speed over nights: steps are found where they are, and outliers are none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import history
from reports.history import GROWN, Night, changes

FIRST = dt.date(2026, 1, 1)


def day(index: int) -> dt.date:
    return FIRST + dt.timedelta(index)


def nights(speeds: Sequence[float], settings: Sequence[Mapping[str, str]] | None = None) -> list[Night]:
    told = settings or [{}] * len(speeds)
    return [Night(day=day(i), speed=v, setting=told[i]) for i, v in enumerate(speeds)]


def noisy(count: int, *, steps: Mapping[int, float] | None = None, noise: float = 0.01, seed: int = 0) -> list[float]:
    speeds = 100.0 * np.exp(np.random.default_rng(seed).normal(0, noise, count))
    for start, by in (steps or {}).items():
        speeds[start:] *= 1 + by
    return [float(speed) for speed in speeds]


def test_a_grown_series_names_the_first_bad_night_and_what_changed() -> None:
    """A step of 10 % down with the engine's new version, out of 40 nights."""
    versions = [{"engine": "1.0" if i < 30 else "1.1", "driver": "570"} for i in range(40)]
    (found,) = changes(nights(noisy(40, steps={30: -0.1}), versions))
    assert (found.kind, found.day, found.changed) == ("regression", day(30), ("engine: 1.0 to 1.1",))
    assert found.sentence == "regression since 2026-01-31: \N{MINUS SIGN}10% (engine: 1.0 to 1.1)"


def test_a_step_up_is_an_improvement() -> None:
    """Named as well, and told apart."""
    (found,) = changes(nights(noisy(40, steps={20: 0.1})))
    assert (found.kind, found.day) == ("improvement", day(20))
    assert found.sentence == "improvement since 2026-01-21: +10% (nothing else that is recorded changed)"


def test_two_steps_are_two_changes() -> None:
    """Down and up again ten nights later."""
    found = changes(nights(noisy(60, steps={25: -0.2, 40: 0.25})))
    assert [(one.kind, one.day) for one in found] == [("regression", day(25)), ("improvement", day(40))]


@pytest.mark.parametrize("outlier", [0, 1, 20, 37, 38, 39])
def test_one_bad_night_is_no_regression(outlier: int) -> None:
    """Wherever it lies, the last night included."""
    speeds = noisy(40)
    speeds[outlier] *= 0.5
    assert changes(nights(speeds)) == []


def test_two_bad_nights_at_the_end_are_one() -> None:
    """The second confirms the first."""
    (found,) = changes(nights(noisy(40, steps={38: -0.2})))
    assert (found.kind, found.day) == ("regression", day(38))


@pytest.mark.parametrize(
    ("speeds", "told"),
    [
        ([100.0] * 7, []),
        ([100.0] * 8, []),
        ([100.0] * 7 + [80.0], []),
        ([100.0] * 6 + [80.0] * 2, [("regression", 6)]),
        ([100.0] * 4 + [80.0] * 4, [("regression", 4)]),
        ([100.0] * 6 + [96.0] * 2, []),
        ([100.0] * 4 + [80.0] * 3 + [100.0], [("suspicious", 4)]),
        ([100.0] * 4 + [80.0] * 2 + [100.0] * 2, []),
        ([100.0, 100.0, 50.0, 100.0] + [80.0] * 4, [("regression", 4)]),
        ([100.0] * 4 + [120.0] * 4, []),
    ],
)
def test_the_rule_for_young_cells(speeds: list[float], told: list[tuple[str, int]]) -> None:
    """Four nights against the median of four: two slow ones at the end, or three before it."""
    assert [(one.kind, one.day) for one in changes(nights(speeds))] == [(kind, day(index)) for kind, index in told]


@given(st.lists(st.floats(99.0, 101.0), max_size=60))
@settings(deadline=None, max_examples=60)
def test_nothing_is_named_within_two_percent(speeds: list[float]) -> None:
    """Whatever the order of speeds: below 5 % there is no news."""
    assert changes(nights(speeds)) == []


@given(st.integers(0, 2**32), st.integers(2, 38), st.floats(0.0, 0.1), st.floats(0.001, 0.03))
@settings(deadline=None, max_examples=100)
def test_a_history_that_is_too_steady_to_be_searched_has_no_steps(
    seed: int, start: int, step: float, noise: float
) -> None:
    """Searched all the same, it says the same."""
    made = nights(noisy(40, steps={start: -step}, noise=noise, seed=seed))
    with mock.patch.object(history, "_any_apart", return_value=True):
        searched = changes(made)
    assert changes(made) == searched


@given(st.integers(0, 2**32), st.integers(GROWN, 60), st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=40)
def test_the_unit_does_not_matter(seed: int, count: int, scale: float) -> None:
    """Tokens per second or per minute: the same nights are named."""
    speeds = noisy(count, steps={count // 2: -0.15}, noise=0.03, seed=seed)
    scaled = [speed * scale for speed in speeds]
    assert [one.day for one in changes(nights(speeds))] == [one.day for one in changes(nights(scaled))]


def test_an_unchanged_setting_is_not_named_and_a_new_one_is() -> None:
    """What was not recorded before is said to be so."""
    told = [{"engine": "1.0"}] * 6 + [{"engine": "1.0", "driver": "570"}] * 2
    (found,) = changes(nights([100.0] * 6 + [80.0] * 2, told))
    assert found.changed == ("driver: not recorded to 570",)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    """It would be divided by."""
    with pytest.raises(ValueError, match=r"^a speed must be a number above zero$"):
        changes(nights([100.0, speed]))


def test_nights_out_of_order_are_refused() -> None:
    """A history read in another order would name another night."""
    with pytest.raises(ValueError, match=r"^the nights of a history must be in order, each of another day$"):
        changes(nights([100.0, 100.0])[::-1])
