"""An engine with a past: real releases of a small package that stands for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runners import lock
from tests.fake_engine.whole_matrix import numpy_lock

ENGINES = """
[[release]]
engine = "fake"
version = "2.2.0"
channel = "stable"
build = "third-party"
build_note = "2.2.0, which is no engine at all."
requirements = "requirements/fake.txt"
"""


@pytest.fixture
def released(tables: Path) -> Path:
    """The fake engine at 2.2.0; its logprobs are shifted from 2.1.0 on."""
    numpy = re.match(r"\S+", numpy_lock())
    assert numpy is not None
    (tables / "requirements" / "fake.in").write_text(f"iniconfig==2.2.0\n{numpy[0]}\n")
    lock.lock(tables / "requirements" / "fake.in")
    (tables / "engines.toml").write_text(ENGINES)
    return tables
