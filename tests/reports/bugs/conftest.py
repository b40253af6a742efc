"""The small GitHub for tests of the tracker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.github.bench import Bench, benches


@pytest.fixture
def bench() -> Iterator[Bench]:
    with benches() as made:
        yield made
