"""Fixtures of our own tests."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes import client, correctness, loading, throughput
from tests.fake_engine import bench

REQUEST_DEADLINE_S = 1.5
DEATH_WATCH_S = 0.5


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: needs a package index or a hub")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes that wait seconds where a run waits minutes."""
    monkeypatch.setattr(client, "DEATH_WATCH_S", DEATH_WATCH_S)
    soon = functools.partial(client.connect, deadline_s=REQUEST_DEADLINE_S)
    for probe in (loading, correctness, throughput):
        monkeypatch.setattr(probe, "connect", soon)


@pytest.fixture
def mark() -> Iterator[str]:
    """A word by which the processes of this test are known; whatever a failing test leaves is ended."""
    word = uuid.uuid4().hex
    try:
        yield word
    finally:
        for process in bench.marked(word):
            process.kill()


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("READINESS_CACHE", str(folder))
    return folder
