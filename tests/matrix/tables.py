"""A small, right set of tables that a test can spoil."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import msgspec

from matrix import load
from matrix.cells import Cell
from matrix.load import Matrix

TABLES = {
    "engines.toml": """
[[release]]
engine = "fake"
version = "0.0.1"
channel = "stable"
build = "official"
requirements = "fake.txt"

[[release]]
engine = "fake"
version = "0.0.2"
channel = "nightly"
build = "official"
device_kinds = ["cuda"]
""",
    "models.toml": """
[[model]]
id = "small"
source = { from = "folder", path = "small" }
unpublished = false
architecture = "Pocket"
dtype = "bfloat16"
context_length = 512

[[model]]
id = "large"
source = { from = "hub", repo = "someone/large", revision = "0123456789012345678901234567890123456789" }
architecture = "Pocket"
dtype = "float32"
context_length = 1024
""",
    "devices.toml": """
[[device]]
id = "cpu"
kind = "cpu"
accelerators = 0

[device.workload]
corpus_sequences = 1
corpus_length = 1
decode_sequences = 1
decode_prompt_length = 1
decode_tokens = 1
""",
    "configs.toml": """
[[config]]
id = "default"
description = "what users run"
speed_counts = true

[[config]]
id = "parity"
description = "plain"
dtype = "float32"
""",
    "profiles.toml": """
[[profile]]
id = "quick"
description = "all"
launcher = "venv"
releases = ["fake-*"]
models = ["*"]
devices = ["cpu"]
configs = ["default"]
""",
    "rules.toml": """
[[exclude]]
cells = "fake-0.0.1__large__*"
reason = "too large"

[[expect]]
cells = "fake-0.0.1__small__*__default"
probe = "loading"
status = "FAIL"
reason = "known"
link = "https://example.org/1"
""",
}

ENGINES = ("fake", "vllm")
PROBES = ("loading", "correctness")
LOCK = "fake.txt"
REFERENCE = "requirements/reference-5.23.0.txt"


def write(folder: Path, **changed: str) -> Path:
    """The tables in a folder; `engines="…"` gives engines.toml another text."""
    (folder / "requirements").mkdir(parents=True, exist_ok=True)
    (folder / LOCK).write_text("")
    (folder / REFERENCE).write_text("")
    for name, text in TABLES.items():
        (folder / name).write_text(changed.get(name.removesuffix(".toml"), text))
    return folder


def spoil(folder: Path, file: str, old: str, new: str) -> Path:
    """The tables with one text replaced."""
    assert old in TABLES[file]
    return write(folder, **{file.removesuffix(".toml"): TABLES[file].replace(old, new, 1)})


def read(folder: Path) -> load.Matrix:
    """Load a folder with the engines and probes that its tables name."""
    return load.load(folder, engines=ENGINES, probes=PROBES)


def many(
    matrix: Matrix,
    *,
    releases: int,
    models: int,
    accelerators: int = 0,
    price: float | None = None,
    parameters: Sequence[int] = (),
) -> list[Cell]:
    """Cells of many releases and models on one device with a runner, release by release."""
    one = matrix.cells()[0]
    device = msgspec.structs.replace(
        one.device, runner=("self-hosted", "gpu"), accelerators=accelerators, price_per_hour=price
    )
    sizes = dict(enumerate(parameters))
    return [
        msgspec.structs.replace(
            one,
            release=msgspec.structs.replace(one.release, version=f"1.{release}", released=dt.date(2026, 1, 1)),
            model=msgspec.structs.replace(one.model, id=f"model-{model}", parameters_total=sizes.get(model)),
            device=device,
        )
        for release in range(releases)
        for model in range(models)
    ]
