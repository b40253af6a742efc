"""`readiness bisect` as whole processes, over real releases of a small package that stands for an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CELL = "fake-2.2.0__pocket__cpu__default"
SHIFTED = """
import sys
from importlib.metadata import version
print(version("iniconfig"))
sys.exit(1 if version("iniconfig") >= "1.1.1" else 0)
"""


def bisect(environment: dict[str, str], cwd: Path, *arguments: str | Path, status: int = 0) -> str:
    env = {**environment, "READINESS_ENGINES": "tests.fake_engine.released"}
    command = [sys.executable, "-m", "readiness", "bisect", *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def outcomes(path: Path) -> dict[str, tuple[str, int]]:
    found: dict[str, Any] = json.loads(path.read_text())
    return {one["version"]: (one["outcome"], one["runs"]) for one in found["trials"]}


def test_the_release_in_which_a_probe_began_to_fail_is_found_by_running_it(
    environment: dict[str, str], released: Path, tmp_path: Path
) -> None:
    """Each in an environment of its own; a release without the fault is run twice; asked again, nothing is run."""
    asked = (CELL, "--probe", "correctness", "--matrix", released)
    said = bisect(environment, tmp_path, *asked)
    answer = "2.1.0 (2025-03-19) is the first that shows it, 2.0.0 (2023-01-07) the last without"
    assert answer in said
    path = tmp_path / "results" / "bisections" / f"{CELL}__correctness.json"
    assert outcomes(path) == {"2.2.0": ("bad", 1), "2.1.0": ("bad", 1), "2.0.0": ("good", 2)}
    again = bisect(environment, tmp_path, *asked)
    assert again.count("(known already)") == 3 and answer in again


def test_a_program_is_run_on_each_release_and_a_crash_of_it_says_nothing(
    environment: dict[str, str], released: Path, tmp_path: Path
) -> None:
    """1.1.0 came as a source archive that today's Python does not build: it is named."""
    (tmp_path / "shifted").mkdir()
    program = tmp_path / "shifted" / "repro.py"
    program.write_text(SHIFTED)
    asked = ("fake-2.2.0", "--repro", program, "--matrix", released)
    said = bisect(environment, tmp_path, *asked, "--good", "1.0.1", "--good-runs", "1")
    path = tmp_path / "results" / "bisections" / "fake-2.2.0__shifted.json"
    found = {version: outcome for version, (outcome, _) in outcomes(path).items()}
    assert found["1.1.1"] == "bad" and found["1.0.1"] == "good"
    assert "1.1.1 (2020-10-16) is the first that shows it" in said
    program.write_text("import nothing_like_that\n")
    refused = bisect(environment, tmp_path, *asked, status=2)
    assert "answers another question" in refused
    path.unlink()
    nothing = bisect(environment, tmp_path, *asked, "--good", "2.1.0", status=3)
    assert "2.2.0: untestable: ModuleNotFoundError: No module named 'nothing_like_that'" in nothing
    assert "a fault that is not there cannot be searched for" in nothing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((CELL,), "bisect needs either --probe or --repro"),
        ((CELL, "--probe", "corectness"), "unknown probe 'corectness' (did you mean 'correctness'?"),
        (("fake-2.2.1__pocket__cpu__default", "--probe", "loading"), f"the nearest: {CELL}"),
        ((CELL, "--probe", "loading", "--good", "7.0"), "--good: the package index has no '7.0'"),
        ((CELL, "--probe", "loading", "--good", "2.2.0"), "--good and --bad are the same release, 2.2.0"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_run(
    environment: dict[str, str], released: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Wrong input is one line and exit status 2."""
    assert said in bisect(environment, tmp_path, *arguments, "--matrix", released, status=2)
    assert not (tmp_path / "results").exists()
