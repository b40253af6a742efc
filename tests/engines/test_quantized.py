"""Quantized weights on a real engine: right beside their own dequantized numbers, and wrong beside others'."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell
from matrix.errors import NotSupported
from matrix.load import PACKAGED
from matrix.results import Status
from probes import correctness, quantized
from probes.session import Options, Session
from probes.stopwatch import Stopwatch
from runners import models, prepare, venv
from runners.engine import SHIMS, Launch
from runners.engines.llama_cpp_python import ENGINE
from runners.models import Checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("llama_cpp_python_environment", "reference_python")]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(Options(matrix=str(PACKAGED), profile="quantized", run=str(tmp_path), select=("*__tiny-llama-*",)))


@pytest.fixture
def cells(session: Session) -> dict[str, Cell]:
    return {planned.cell.config.id: planned.cell for planned in session.plan}


def launch_of(session: Session, cell: Cell) -> Launch:
    return launched_from(session, cell, session.checkpoint(cell.model))


def scaled(source: Checkpoint, folder: Path, factor: float, python: Path) -> Checkpoint:
    """The same release with every factor of a block times another."""
    shutil.copytree(source.folder, folder)
    code = (
        "import sys; from safetensors.torch import load_file, save_file; path, factor = sys.argv[1:];"
        "found = load_file(path); save_file({name: tensor * float(factor) if name.endswith('_scale_inv') else tensor "
        "for name, tensor in found.items()}, path, metadata={'format': 'pt'})"
    )
    for path in folder.glob("*.safetensors"):
        subprocess.run((str(python), "-c", code, str(path), str(factor)), check=True)
    return models.local(folder)


def launched_from(session: Session, cell: Cell, source: Checkpoint) -> Launch:
    prepared = prepare.in_venv(session.matrix, cell, ENGINE, source)
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


@pytest.mark.parametrize(("factor", "status"), [(1.0, Status.PASS), (1.25, Status.FAIL)])
def test_a_release_in_fp8_is_held_against_its_weights_made_dense(
    session: Session, cells: dict[str, Cell], tmp_path: Path, factor: float, status: Status
) -> None:
    """The engine is given the FP8 file; one whose scales are off is wrong, and there is no cost to show."""
    plain = msgspec.structs.replace(cells["q8-0"].config, id="bfloat16", quantization=None, dtype="bfloat16")
    cell = msgspec.structs.replace(cells["q8-0"], config=plain)
    environment = prepare.reference_environment(session.matrix, cell.model)
    release = models.packed(session.checkpoint(cell.model), "fp8", cell.model.id, environment)
    bench = session.bench(cell, release, Stopwatch())
    served = scaled(release, tmp_path / "served", factor, environment.python)
    with venv.launch(ENGINE, launched_from(session, cell, served), tmp_path / "server.log") as server:
        measurement = correctness.measure(server, cell, bench)
    session.close()
    assert bench.released is None
    assert correctness.PROBE.judge(measurement, cell).status is status


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
