"""`make bench-gpu-speed`: how near transformers comes to a device's bounds with a model of random weights.

For a machine with a GPU and no network: everything is made on the spot but the engine's own Python, which is given and
must hold `transformers[serving]` and a torch for the device. Prints a section for docs/measurements.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from matrix.cells import Cell, Device, FolderSource, Model, Release, Shape
from matrix.results import Verdict
from probes import tables, throughput
from probes.probe import Bench
from probes.provenance import machine
from probes.reference.stage import Reference
from probes.stopwatch import Stopwatch
from runners import models, venv
from runners.engine import SHIMS, Environment, Launch
from runners.engines.transformers import ENGINE
from tests.benchmarks import checkpoints
from tests.benchmarks.checkpoints import VOCABULARY

CONTEXT = 40_960
"""Positions of the model: the longest load shape, and more."""

START_S = 900.0


def main(words: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.speed_of_random", description=__doc__)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the engine's interpreter")
    parser.add_argument("--device", default="h100x1", help="an id of matrix/devices.toml")
    parser.add_argument("--shapes", nargs="+", default=["D1", "D16", "P"])
    parser.add_argument("--hidden", type=int, default=2560)
    parser.add_argument("--intermediate", type=int, default=9728)
    parser.add_argument("--layers", type=int, default=36, help="36 layers of the default sizes: 3.7 billion weights")
    options = parser.parse_args(words)
    shape = checkpoints.Shape(
        name="random", hidden=options.hidden, intermediate=options.intermediate, layers=options.layers
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "random"
        write(folder, shape)
        cell = cell_of(folder, options.python, options.device, options.shapes)
        verdict = measured(cell, folder, options.python, Path(scratch))
    print(section(cell, shape, verdict))


def write(folder: Path, shape: checkpoints.Shape) -> None:
    """The checkpoint, with a tokenizer of one word an id and room for the longest prompt."""
    checkpoints.write(folder, shape)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
    made = Tokenizer(WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    made.pre_tokenizer = Whitespace()  # type: ignore[assignment,unused-ignore]  # the stub wants its base class
    made.add_special_tokens([AddedToken("w2", special=True)])
    made.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "w2"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def cell_of(folder: Path, python: Path, device_id: str, shapes: Sequence[str]) -> Cell:
    """The cell: the installed transformers with this model on this device, asked these load shapes."""
    matrix = tables.matrix()
    device = matrix.devices[device_id]
    kept = tuple(shape for shape in device.workload.shapes if shape.id in shapes)
    return Cell(
        release=Release(
            engine="transformers", version=_version(python), channel="stable", build="official",
            device_kinds=(device.kind,),
        ),
        model=Model(
            id="random", source=FolderSource(path=str(folder)), architecture="LlamaForCausalLM", dtype="bfloat16",
            context_length=CONTEXT,
        ),
        device=_asked(device, kept),
        config=matrix.configs["default"],
    )  # fmt: skip


def _asked(device: Device, shapes: tuple[Shape, ...]) -> Device:
    return msgspec.structs.replace(device, workload=msgspec.structs.replace(device.workload, shapes=shapes))


def _version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('transformers'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def measured(cell: Cell, folder: Path, python: Path, scratch: Path) -> Verdict:
    """The throughput probe's verdict, on an engine started for it."""
    environment = Environment(folder=python.parents[1], python=python, requirements_sha256="")
    spec = Launch(
        cell=cell, environment=environment, model_path=folder, port=venv.free_port(), shims=SHIMS, label="benchmarks",
        accelerators=() if cell.device.kind == "cpu" else ("0",), deadline_s=START_S,
    )  # fmt: skip
    watch = Stopwatch()
    reference = Reference(
        checkpoint=models.local(folder), environment=environment, workload=cell.device.workload, watch=watch
    )
    with venv.launch(ENGINE, spec, scratch / "engine.log") as server:
        measurement = throughput.measure(server, cell, Bench(reference=reference, watch=watch))
    return throughput.judge(measurement, cell)


def section(cell: Cell, shape: checkpoints.Shape, verdict: Verdict) -> str:
    """For docs/measurements.md."""
    lines = [
        f"## {cell.release.id}, {shape.nbytes / 2e9:.1f} billion random weights in bfloat16, on {cell.device.id}",
        "",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}.",
        "",
        f"{verdict.status.value}: {verdict.reason}",
        "",
        *(f"- {name}: {text}" for name, text in verdict.evidence.items()),
        *(f"- {name} = {value:.4g}" for name, value in verdict.numbers.items() if not name.endswith("_mad")),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
