"""What the planning benchmark plays and prints."""

from __future__ import annotations

import datetime as dt

import pytest

from matrix.cells import Cell
from probes import tables
from tests.benchmarks.planning import page
from tests.benchmarks.planning.simulation import MODELS, Fetched, Played, Player, World, accelerators, arrivals


@pytest.fixture(scope="module")
def like() -> Cell:
    return next(cell for cell in tables.matrix().cells() if cell.device.id == "h100x1" and cell.image is not None)


@pytest.mark.parametrize(("billions", "count"), [(0.6, 1), (32, 1), (33, 2), (80, 4), (120, 4), (130, 8), (671, 8)])
def test_a_model_takes_the_accelerators_that_hold_it(billions: float, count: int) -> None:
    """Two bytes a parameter and a quarter more, of 80 GB each."""
    assert accelerators(billions) == count


def test_the_world_grows_by_what_came(like: Cell) -> None:
    """43 models and eight engines on the first night, 60 on the last; of an engine the newest release alone."""
    world = World(arrivals(), like)
    first, last = (world.cells(day) for day in (dt.date(2026, 9, 25), dt.date(2026, 11, 23)))
    assert (len(first), len(last)) == (43 * 8, MODELS * 8)
    assert {cell.release.id for cell in first if cell.release.engine == "vllm"} == {"vllm-1.0"}
    assert {cell.release.id for cell in last if cell.release.engine == "vllm"} == {"vllm-1.3"}


def test_a_play_is_the_same_again_and_no_new_model_waits_with_hours_to_spare(like: Cell) -> None:
    """Two hundred hours a night are enough for everything at once."""
    world = World(arrivals(), like)
    played, again = (Player(world, 200.0, seed=1).play() for _ in range(2))
    assert played == again
    assert set(played.lateness) == {0}
    assert len(played.lateness) == 17 * 8
    assert max(played.oldest) < 7


def test_the_page_says_whether_the_goal_is_met() -> None:
    """A second and a half is too long."""
    played = Played(
        budget_h=24.0, spent_h=(20.0, 26.0), lateness=(0, 1), release_lateness=(2,), superseded=3, oldest=(5, 4),
        asked={}, fetched=Fetched(least=10.0, grouped=11.0, by_release=14.0),
    )  # fmt: skip
    text = page.render([1.4, 1.5, 1.6], {(24.0, True): [played]}, 216.0, machine="m", made_on=dt.date(2026, 1, 2))
    assert "1.50 s in the median of 3 (1.40 to 1.60 s). Goal (1 s at most): missed." in text
    assert "| 24 | priorities | 0.5 | 1 | 2.0 | 3 | 5 | 4 | 23.0 | 26.0 |" in text
    assert "| 24 | 1.10 | 1.40 |" in text
