"""What an engine is given: the checkpoint as released, or in the format that the config names."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell
from matrix.errors import NotSupported
from probes import weights
from runners import models
from runners.engine import Engine, Environment
from runners.engines import llama_cpp_python, mlx_lm, vllm
from runners.models import Checkpoint
from tests.fake_engine import bench

NOWHERE = Environment(folder=Path("nowhere"), python=Path("nowhere/bin/python"), requirements_sha256="")


def checkpoint(folder: Path, **config: object) -> Checkpoint:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    return Checkpoint(folder=folder, digest="0" * 64)


def cell(quantization: str | None) -> Cell:
    return msgspec.structs.replace(
        bench.CELL, config=msgspec.structs.replace(bench.CELL.config, quantization=quantization)
    )


@pytest.mark.parametrize(("engine", "quantization"), [(vllm.ENGINE, None), (llama_cpp_python.ENGINE, "q8-0")])
def test_weights_that_the_engine_takes_as_they_are(engine: Engine, quantization: str | None, tmp_path: Path) -> None:
    """Plain ones, also where its own converter quantizes them."""
    source = checkpoint(tmp_path)
    assert weights.served(engine, cell(quantization), source, NOWHERE) is source


@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_quantized_release_is_given_as_it_is(tmp_path: Path, part: str | None) -> None:
    """Its config.json says in which format, for the whole or for the part that is a model of text."""
    settings = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    source = checkpoint(tmp_path, **({part: settings} if part else settings))
    assert models.format_of(tmp_path) == "awq"
    assert weights.served(vllm.ENGINE, cell(None), source, NOWHERE) is source


@pytest.mark.parametrize(
    ("engine", "quantization", "released", "reason"),
    [
        (llama_cpp_python.ENGINE, "awq", None, "this engine neither makes nor is known to load weights in awq"),
        (vllm.ENGINE, None, "gptq", "this engine neither makes nor is known to load weights in gptq"),
        (vllm.ENGINE, "fp8", "awq", "the weights are released in awq, and are not quantized again"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    engine: Engine, quantization: str | None, released: str | None, reason: str, tmp_path: Path
) -> None:
    """Before anything is made or started."""
    source = checkpoint(tmp_path, **({"quantization_config": {"quant_method": released}} if released else {}))
    with pytest.raises(NotSupported, match=f"^{reason}$"):
        weights.served(engine, cell(quantization), source, NOWHERE)


def test_a_quantized_release_is_not_widened(tmp_path: Path) -> None:
    """An engine that computes in the dtype of its weights would not answer in the float32 by which it is judged."""
    source = checkpoint(tmp_path, quantization_config={"quant_method": "awq"})
    wide = msgspec.structs.replace(bench.CELL, config=msgspec.structs.replace(bench.CELL.config, dtype="float32"))
    with pytest.raises(NotSupported, match="computes in the dtype of its weights, and those are in awq"):
        weights.served(mlx_lm.ENGINE, wide, source, NOWHERE)


@pytest.mark.parametrize(("accelerators", "noise"), [(0, "bfloat16"), (1, "fp8")])
def test_kernels_of_an_accelerator_round_inputs_and_those_of_a_cpu_do_not(accelerators: int, noise: str) -> None:
    """FP8 weights: a CPU computes with them in the config's dtype."""
    on = msgspec.structs.replace(bench.CELL.device, accelerators=accelerators)
    asked = msgspec.structs.replace(cell("fp8"), device=on)
    assert weights.family(vllm.ENGINE, asked, "fp8", "bfloat16") == noise
