"""Where time goes: seconds by name."""

from __future__ import annotations

import pytest

from probes.stopwatch import ENGINE, REFERENCE, Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows what it is set to."""
    shown = [0.0]
    monkeypatch.setattr("probes.stopwatch.time.monotonic", lambda: shown[0])
    return shown


def test_what_overlaps_counts_once_and_names_count_apart(clock: list[float]) -> None:
    """Two requests side by side for two seconds are two seconds of the engine."""
    watch = Stopwatch()
    with watch.on(ENGINE):
        clock[0] = 1.0
        with watch.on(ENGINE), watch.on(REFERENCE):
            clock[0] = 2.0
    with watch.on(ENGINE):
        clock[0] = 2.5
    assert dict(watch.spent) == {ENGINE: 2.5, REFERENCE: 1.0}


def test_a_block_that_fails_has_taken_its_time(clock: list[float]) -> None:
    """The error goes on."""
    watch = Stopwatch()

    def fail() -> None:
        with watch.on(ENGINE):
            clock[0] = 3.0
            raise ValueError("it broke")

    with pytest.raises(ValueError, match="it broke"):
        fail()
    assert watch.spent[ENGINE] == 3.0
