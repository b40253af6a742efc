"""Tables of a matrix of our own: two releases of the fake engine and one model, which run in seconds."""

from __future__ import annotations

import re
from pathlib import Path

from matrix.load import PACKAGED

ENGINES = """
[[release]]
engine = "fake"
version = "0.0.1"
channel = "stable"
build = "official"
requirements = "requirements/fake.txt"

[[release]]
engine = "fake"
version = "0.0.2"
channel = "stable"
build = "official"
requirements = "requirements/other.txt"
"""
MODELS = """
[[model]]
id = "pocket"
architecture = "Pocket"
dtype = "bfloat16"
context_length = 512
source = { from = "folder", path = "pocket" }
unpublished = false
"""
WORKLOAD = """
[device.workload]
corpus_sequences = 16
corpus_length = 64
decode_sequences = 16
decode_prompt_length = 16
decode_tokens = 48
speed_repeats = 2
shapes = [
    { id = "D1", prompt_tokens = 8, output_tokens = 8 },
    { id = "D16", concurrency = 2, prompt_tokens = 8, output_tokens = 8 },
]
"""
DEVICES = f"""
[[device]]
id = "cpu"
kind = "cpu"
accelerators = 0
speed_judged = false # a machine that runs tests is busy
canary_tolerance = 10.0
runner = ["ubuntu-24.04"]
{WORKLOAD}
[[device]]
id = "borrowed"
kind = "cpu"
accelerators = 0
speed_judged = false # a machine that runs tests is busy
canary_tolerance = 10.0
{WORKLOAD}"""
PROFILES = """
[[profile]]
id = "quick"
description = "The fake engine, twice."
launcher = "venv"
tier = "smoke"
releases = ["fake-*"]
models = ["pocket"]
devices = ["cpu"]
configs = ["default"]

[[profile]]
id = "nightly"
description = "The same, on every device."
launcher = "venv"
tier = "smoke"
releases = ["fake-*"]
models = ["pocket"]
devices = ["*"]
configs = ["default"]
"""


def numpy_lock() -> str:
    """The hashed lines of the one package that the fake engine needs."""
    lock = (PACKAGED / "requirements" / "reference-5.23.0.txt").read_text()
    found = re.search(r"(?m)^numpy==[^\n]*(?:\n +--hash[^\n]*)+", lock)
    assert found is not None
    return found.group() + "\n"


def write(folder: Path) -> Path:
    """Write them as a folder for `--matrix`."""
    (folder / "requirements").mkdir(parents=True)
    for name in ("fake", "other"):
        (folder / "requirements" / f"{name}.txt").write_text(numpy_lock())
    (folder / "requirements" / "reference-5.23.0.txt").write_text("")
    tables = {"engines": ENGINES, "models": MODELS, "devices": DEVICES, "profiles": PROFILES, "rules": ""}
    for name, text in tables.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "configs.toml").write_text((PACKAGED / "configs.toml").read_text())
    return folder
