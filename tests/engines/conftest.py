"""Real engines on a tiny checkpoint: what these tests share."""

from __future__ import annotations

import pytest

from matrix.cells import Cell
from matrix.load import PACKAGED
from probes.probe import Bench
from probes.session import Options, Session
from probes.stopwatch import Stopwatch
from runners.models import Checkpoint

MODEL = "tiny-llama-3.2-1b-instruct"


@pytest.fixture(scope="session")
def microscope(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The engines and the config of the microscope, on one of its models."""
    run = tmp_path_factory.mktemp("run")
    return Session(Options(matrix=str(PACKAGED), profile="microscope", select=(f"*__{MODEL}__*",), run=str(run)))


@pytest.fixture(scope="session")
def cells(microscope: Session) -> dict[str, Cell]:
    """Its cells by engine."""
    return {planned.cell.release.engine: planned.cell for planned in microscope.plan}


@pytest.fixture(scope="session")
def tiny_llama(microscope: Session, cells: dict[str, Cell], reference_python: object) -> Checkpoint:
    """The checkpoint."""
    return microscope.checkpoint(cells["vllm"].model)


@pytest.fixture(scope="session")
def bench(microscope: Session, cells: dict[str, Cell], tiny_llama: Checkpoint) -> Bench:
    """Its reference."""
    watch = Stopwatch()
    return Bench(reference=microscope.reference(cells["vllm"], tiny_llama, watch), watch=watch)
