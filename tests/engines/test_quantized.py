"""Quantized weights on a real engine: right beside their own dequantized numbers, and wrong beside others'."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell
from matrix.errors import NotSupported
from matrix.load import PACKAGED
from matrix.results import Status
from probes import quantized
from probes.session import Options, Session
from probes.stopwatch import Stopwatch
from runners import prepare, venv
from runners.engine import SHIMS, Launch
from runners.engines.llama_cpp_python import ENGINE

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("llama_cpp_python_environment", "reference_python")]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(Options(matrix=str(PACKAGED), profile="quantized", run=str(tmp_path), select=("*__tiny-llama-*",)))


@pytest.fixture
def cells(session: Session) -> dict[str, Cell]:
    return {planned.cell.config.id: planned.cell for planned in session.plan}


def launch_of(session: Session, cell: Cell) -> Launch:
    prepared = prepare.in_venv(session.matrix, cell, ENGINE, session.checkpoint(cell.model))
    return Launch(
        cell=cell, environment=prepared.environment, model_path=prepared.model_path, port=venv.free_port(),
        shims=SHIMS, label="tests",
    )  # fmt: skip


@pytest.mark.parametrize(("served", "status"), [("q8-0", Status.PASS), ("q4-k-m", Status.FAIL)])
def test_weights_are_held_against_their_own_numbers(
    session: Session, cells: dict[str, Cell], tmp_path: Path, served: str, status: Status
) -> None:
    """A Q8_0 file is right beside what is in it; a file of fewer bits in its place is not, though its cost is shown."""
    cell = cells["q8-0"]
    bench = session.bench(cell, session.checkpoint(cell.model), Stopwatch())
    with venv.launch(ENGINE, launch_of(session, cells[served]), tmp_path / "server.log") as server:
        measurement = quantized.measure(server, cell, bench)
    session.close()
    verdict = quantized.judge(measurement, cell)
    assert verdict.status is status
    assert 0.01 < verdict.numbers["cost_kl_nats"] < 0.1
    assert "quantizing costs 0.0" in verdict.reason


def test_what_cannot_be_judged_is_refused_with_its_reason(session: Session, cells: dict[str, Cell]) -> None:
    """A type that the engine has no tool for, and experts, whose noise no replicate has."""
    cell = cells["q8-0"]
    source = session.checkpoint(cell.model)
    other = msgspec.structs.replace(cell, config=msgspec.structs.replace(cell.config, quantization="awq"))
    with pytest.raises(NotSupported, match="this engine neither makes nor is known to load weights in awq"):
        session.bench(other, source, Stopwatch())
    experts = session.matrix.models["tiny-qwen3-30b-a3b"]
    with pytest.raises(NotSupported, match="no replicate rounds the inputs of experts"):
        session.bench(msgspec.structs.replace(cell, model=experts), session.checkpoint(experts), Stopwatch())
    session.close()
