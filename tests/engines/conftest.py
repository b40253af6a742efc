"""Real engines on a real model: what these tests share."""

from __future__ import annotations

import pytest

from matrix.cells import Cell
from matrix.load import PACKAGED
from probes.probe import Bench
from probes.session import Options, Session
from probes.stopwatch import Stopwatch
from runners.models import Checkpoint


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The profile that `make grid` runs."""
    run = tmp_path_factory.mktemp("run")
    return Session(Options(matrix=str(PACKAGED), run=str(run)))


@pytest.fixture(scope="session")
def cells(quick: Session) -> dict[str, Cell]:
    """Its cells by engine."""
    return {planned.cell.release.engine: planned.cell for planned in quick.plan}


@pytest.fixture(scope="session")
def smollm2(quick: Session, cells: dict[str, Cell], reference_python: object) -> Checkpoint:
    """The real model."""
    return quick.checkpoint(cells["vllm"].model)


@pytest.fixture(scope="session")
def bench(quick: Session, cells: dict[str, Cell], smollm2: Checkpoint) -> Bench:
    """Its reference."""
    watch = Stopwatch()
    return Bench(reference=quick.reference(cells["vllm"], smollm2, watch), watch=watch)
