"""The verdict of a cell from those of its strata."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.results import Status, Verdict
from probes.pooling import stacked
from probes.strata import step_down


def at(p_value: float) -> Callable[[int], Verdict]:
    """A stratum that is rejected at 5% with this p-value."""
    return lambda strata: Verdict(status=Status.FAIL if p_value < 0.05 / strata else Status.PASS, reason="")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_strata_share_the_level_as_holm_says(p_values: list[float]) -> None:
    """Rejected are the smallest p-values, as long as the n-th smallest of m is under 5% / (m - n + 1)."""
    found = step_down({str(place): at(p) for place, p in enumerate(p_values)})
    wanted = set()
    for turn, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if p_values[place] >= 0.05 / (len(p_values) - turn):
            break
        wanted.add(str(place))
    assert {name for name, verdict in found.items() if verdict.status is Status.FAIL} == wanted
    assert list(found) == [str(place) for place in range(len(p_values))]


def test_one_rejection_leaves_more_to_the_others() -> None:
    """4% is not enough for one of two strata, but for the one that is left."""
    assert step_down({"a": at(0.04), "b": at(0.5)})["a"].status is Status.PASS
    assert step_down({"a": at(0.04), "b": at(0.01)})["a"].status is Status.FAIL


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tables_of_other_widths_are_padded(dtype: type) -> None:
    """Sequences one after the other; NaN beyond the end of numbers, -1 beyond that of ids; metadata is the first's."""
    one = {"array": np.ones((2, 3, 1), dtype), "metadata": np.array("first")}
    other = {"array": np.ones((1, 4, 2), dtype), "metadata": np.array("second")}
    found = stacked(one, other)
    assert found["array"].shape == (3, 4, 2) and found["array"].dtype == dtype
    beyond = found["array"][0, 3, 1]
    assert np.isnan(beyond) if dtype is np.float32 else beyond == -1
    assert found["array"][:2, :3, :1].all() and found["array"][2].all() and found["metadata"] == "first"
