"""Standalone programs where an engine is installed: their exit status and words come back, and nothing stays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psutil
import pytest

from matrix.cells import Cell
from matrix.load import Matrix
from probes import tables
from runners import limits, repros
from runners.images import Ready
from tests.fake_engine import adapter

PROGRAM = """
import os, subprocess, sys
print(os.getcwd() != os.environ["HOME"], "TOKEN" in os.environ, os.environ["VIRTUAL_ENV"] == sys.prefix)
child = subprocess.Popen(["sleep", "600"])
print(child.pid)
sys.exit(1)
"""


@pytest.fixture
def there(tables_folder: Path) -> tuple[Matrix, Cell]:
    matrix = tables.matrix(tables_folder)
    return matrix, next(iter(matrix.cells()))


@pytest.fixture
def tables_folder(tables: Path, monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> Path:
    """A matrix of the fake engine, and a cache of the tests' own."""
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.adapter")
    monkeypatch.setenv("READINESS_CACHE", str(shared_cache))
    monkeypatch.setenv("TOKEN", "secret")
    return tables


def written(folder: Path, text: str) -> Path:
    path = folder / "repro.py"
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_a_program_runs_in_a_folder_of_its_own_without_our_secrets_and_leaves_nothing(
    there: tuple[Matrix, Cell], tmp_path: Path
) -> None:
    """What it started is taken down with it."""
    ran = repros.in_venv(there[0], adapter.ENGINE, there[1], written(tmp_path, PROGRAM))
    said, child = ran.output.split("\n")[:2]
    assert (ran.exit_code, ran.crashed, said) == (1, False, "True False True")
    assert not psutil.pid_exists(int(child))


@pytest.mark.parametrize(
    ("text", "code", "crashed", "last"),
    [
        ("print('gone')\nprint()", 0, False, "gone"),
        ("raise KeyError('x')", 1, True, "KeyError: 'x'"),
        ("import no.such", 1, True, "ModuleNotFoundError: No module named 'no'"),
        ("x = (", 1, True, "SyntaxError: '(' was never closed"),
        ("raise SystemExit(2)", 2, False, "exit code 2, without a word"),
    ],
)
def test_a_program_that_python_itself_ended_has_shown_nothing(
    there: tuple[Matrix, Cell], tmp_path: Path, text: str, code: int, crashed: bool, last: str
) -> None:
    """Its exit status would be that of the fault."""
    ran = repros.in_venv(there[0], adapter.ENGINE, there[1], written(tmp_path, text))
    assert (ran.exit_code, ran.crashed, ran.last_line) == (code, crashed, last)


def test_an_engine_reports_its_environment_by_its_own_command(there: tuple[Matrix, Cell]) -> None:
    """One that has none gives none."""
    matrix, cell = there
    assert repros.report_in_venv(matrix, adapter.ENGINE, cell) is None
    told = msgspec.structs.replace(adapter.ENGINE, environment_report=("-c", "import numpy; print('numpy is here')"))
    assert repros.report_in_venv(matrix, told, cell) == "numpy is here\n"


@pytest.mark.docker
def test_a_program_runs_in_an_image_as_isolated_as_an_engine(
    fake_image: Ready, there: tuple[Matrix, Cell], tmp_path: Path
) -> None:
    """It sees no network, and writes nowhere but below /tmp."""
    text = "import os\nprint(sorted(os.listdir('/sys/class/net')), os.getcwd())\nraise SystemExit(1)"
    program = written(tmp_path, text)
    allowed = limits.limits(there[1], 0)
    ran = repros.in_image(adapter.ENGINE, there[1], fake_image, program, allowed)
    assert (ran.exit_code, ran.output) == (1, "['lo'] /tmp\n")
