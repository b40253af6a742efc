"""Two faults of real engines that the probes must catch by name, each beside its null twin that must pass."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest

from matrix.cells import Cell
from matrix.results import Status, Table
from probes import correctness, loading, strata
from probes.probe import Bench
from probes.reference.stage import Reference
from probes.session import Session
from runners import models, prepare, venv
from runners.engine import SHIMS, Engine, Launch
from runners.engines import llama_cpp_python
from runners.models import Checkpoint

MISSING = "model.layers.1.mlp.down_proj.weight"

pytestmark = pytest.mark.engine


def without_tensor(source: Path, target: Path, name: str) -> None:
    """Copy a checkpoint, leaving one tensor out of its safetensors file (8 bytes of length, a JSON header, data)."""
    shutil.copytree(source, target)
    path = target / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    start, end = header.pop(name)["data_offsets"]
    for key, entry in header.items():
        if key != "__metadata__" and entry["data_offsets"][0] >= end:
            entry["data_offsets"] = [offset - (end - start) for offset in entry["data_offsets"]]
    body = data[8 + length :]
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + body[:start] + body[end:])


def launch_of(microscope: Session, cell: Cell, engine: Engine, source: Checkpoint) -> Launch:
    prepared = prepare.in_venv(microscope.matrix, cell, engine, source)
    return Launch(
        cell=cell,
        environment=prepared.environment,
        model_path=prepared.model_path,
        port=venv.free_port(),
        shims=SHIMS,
        label="tests",
    )


@pytest.mark.usefixtures("vllm_environment")
def test_vllm_serving_a_checkpoint_without_a_weight_is_caught_by_name(
    microscope: Session, cells: dict[str, Cell], tiny_llama: Checkpoint, bench: Bench, tmp_path: Path
) -> None:
    """vLLM is healthy without `down_proj` of layer 1; the loading probe is not, and names the tensor."""
    without_tensor(tiny_llama.folder, tmp_path / "damaged", MISSING)
    damaged = models.local(tmp_path / "damaged")
    cell = cells["vllm"]
    engine = microscope.engines["vllm"]
    there = Bench(reference=msgspec.structs.replace(bench.reference, checkpoint=damaged), watch=bench.watch)
    spec = launch_of(microscope, cell, engine, damaged)
    with venv.launch(engine, spec, tmp_path / "server.log") as server:
        verdict = loading.judge(loading.measure(server, cell, there), cell)
    assert verdict.status is Status.FAIL
    assert verdict.reason == f"serves a checkpoint that lacks {MISSING} as healthy"


class PlainText(Reference, frozen=True, kw_only=True):
    """The corpus without sequences that a text prompt cannot carry: cut characters, special tokens, rare splits."""

    def corpus(self, first: int = 0, count: int | None = None) -> Table:
        whole = super().corpus(first, count)
        kept = np.array([self._gives_back(ids) for ids in whole["token_ids"].tolist()])
        return {name: array[kept] if array.shape[:1] == kept.shape else array for name, array in whole.items()}

    def _gives_back(self, ids: list[int]) -> bool:
        text = self.tokenizer().decode(ids, skip_special_tokens=False)
        again: list[int] = self.tokenizer().encode(text, add_special_tokens=False).ids
        return text.isascii() and "<|" not in text and again == ids


@pytest.mark.usefixtures("llama_cpp_python_environment")
@pytest.mark.parametrize(("through", "status"), [("eval", Status.PASS), ("echo", Status.FAIL)])
def test_the_shift_of_llama_cpp_pythons_echoed_logprobs_is_caught_by_name(
    microscope: Session,
    cells: dict[str, Cell],
    tiny_llama: Checkpoint,
    bench: Bench,
    tmp_path: Path,
    through: str,
    status: Status,
) -> None:
    """Scored through `create_completion(echo=True)`, every token gets the logprobs of its successor's position."""
    cell = cells["llama-cpp-python"]
    engine = microscope.engines["llama-cpp-python"]
    plain = PlainText(**{field: getattr(bench.reference, field) for field in Reference.__struct_fields__})
    if through == "echo":
        engine = msgspec.structs.replace(engine, score=llama_cpp_python.score_by_echo)
    spec = launch_of(microscope, cell, engine, tiny_llama)
    with venv.launch(engine, spec, tmp_path / "server.log") as server:
        verdict = strata.judge(correctness.measure(server, cell, Bench(reference=plain, watch=bench.watch)), cell)
    assert verdict.status is status
    shifted = "prefill: shifted by one position: each token is scored with the logits that follow it"
    assert verdict.reason.startswith(shifted) is (through == "echo")
