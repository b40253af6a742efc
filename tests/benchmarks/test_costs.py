"""The document of costs says what was measured, met or not."""

from __future__ import annotations

import datetime as dt

from reports.cost import Cost
from tests.benchmarks.costs import PHASE, Measured, document

MADE_AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def cost(total_s: float) -> Cost:
    parts = {"engine start": total_s - 8.0, "harness": 8.0}
    return Cost(total_s=total_s, parts_s=parts, harness_s=8.0, cells=4)


def test_a_promise_that_was_not_kept_is_said_to_be_missed() -> None:
    """Each promise stands beside its limit and its measured value."""
    measured = Measured(
        commit="abc", browser_was_there=True,
        setup_s=33.2, ci_s=3600.0, phases=(("lint and types", 3),), test_summaries=("7 passed in 9s", "2 passed in 8s"),
        first=cost(1502.0), second=cost(481.0),
    )  # fmt: skip
    text = document(measured, MADE_AT)
    assert "| first `make grid`, compiling llama-cpp-python included | 1800 s | 1502 s | yes |" in text
    assert "| second `make grid`, environments and reference cached | 480 s | 481 s | no |" in text
    assert "| the harness's own share of a cell | 5 s | 2.0 s | yes |" in text
    assert "| `.ci/run` | 3600 s | 3600 s | yes |" in text
    assert "ended with `7 passed in 9s` and `2 passed in 8s`." in text
    assert "Chromium was installed before." in text
    assert "| lint and types | 3 |" in text


def test_a_phase_of_ci_is_recognised() -> None:
    """The line that `.ci/run` prints as a phase begins."""
    found = PHASE.match("== lint and types (after 3 s)")
    assert found is not None
    assert found.groups() == ("lint and types", "3")
