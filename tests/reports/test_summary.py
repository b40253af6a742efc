"""What the jobs of a night say on their own pages; the grid is tested with the site."""

from __future__ import annotations

import datetime as dt

import pytest

from matrix.jobs import Job
from matrix.plan import Night
from reports import summary
from reports.collect import Collected

NIGHT = Night(
    night="7", planned_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC), profile="nightly", cells=("a", "b"),
    reasons={"a": "it is red", "b": "its turn"}, left_out={"c": "unchanged"},
)  # fmt: skip


def job(*cells: str) -> Job:
    return Job(name="engine on cpu", runner=("self",), cells=cells, minutes=30)


def test_a_plan_names_what_runs_and_why_what_is_done_and_what_is_left_out() -> None:
    """In a second attempt of a workflow only what the first has not measured runs."""
    lines = summary.plan(NIGHT, [job("a")]).splitlines()
    assert lines[2].startswith("Profile `nightly`: 1 cells in 1 jobs. 2 cells, 0.0 accelerator-hours.")
    assert lines[4:] == [
        "- engine on cpu, at most 30 minutes:",
        "  - `a`: it is red",
        "- measured already in this run of the workflow: `b`",
        "- left out: `c`: unchanged",
    ]


@pytest.mark.parametrize(
    ("hours", "dollars", "said"),
    [
        (0.0, None, "2 cells, 0.0 accelerator-hours."),
        (1.5, 6.4, "2 cells, 1.5 accelerator-hours, about $6."),
        (1.5, None, "2 cells, 1.5 accelerator-hours, at no known price."),
    ],
)
def test_what_a_night_takes(hours: float, dollars: float | None, said: str) -> None:
    """A price that nobody knows is not nought."""
    night = Night(
        night="7", planned_at=NIGHT.planned_at, profile="nightly", cells=NIGHT.cells, left_out={},
        accelerator_hours=hours, dollars=dollars,
    )  # fmt: skip
    assert summary.cost(night) == said


def test_what_was_collected_names_what_stayed_and_what_was_withdrawn() -> None:
    """Nothing is dropped in silence."""
    done = Collected(new=3, known=1, differing=("x",), withdrawn=("y",))
    assert summary.collected(done).splitlines()[2:] == [
        "3 new files, 1 known already.",
        "- kept as it was, though another one came: `x`",
        "- no longer accuses an engine: `y`",
    ]
