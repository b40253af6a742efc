"""Logs of any length: beginning and end stay, and what lay between is said to be left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners import logs
from runners.logs import CappedLog


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of which ten bytes at the beginning and ten at the end are kept, once it has more than a hundred."""
    for name, size in (("HEAD_BYTES", 10), ("TAIL_BYTES", 10), ("MOST_BYTES", 100)):
        monkeypatch.setattr(logs, name, size)
    return tmp_path / "cell" / "engine.log"


def test_a_short_log_is_whole_and_read_at_once(path: Path) -> None:
    """Also while it is written; an older one is gone."""
    path.parent.mkdir()
    path.write_text("of an earlier launch")
    with CappedLog(path) as log:
        log.write(b"one ")
        assert path.read_bytes() == b"one "
        log.write(b"two")
    assert path.read_bytes() == b"one two"
    with pytest.raises(ValueError, match="closed"):
        log.write(b"three")


def test_the_middle_of_a_long_log_is_left_out(path: Path) -> None:
    """Whatever comes after that; how much lacks is told in bytes of what was written."""
    with CappedLog(path) as log:
        log.write(b"beginning_" + b"." * 91)
        assert path.read_text() == "beginning_\n[\u2026 81 bytes of log left out here \u2026]\n.........."
        log.write(b" the end.")
    assert path.read_text().endswith("here \u2026]\n.......... the end.")
