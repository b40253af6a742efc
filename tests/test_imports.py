"""Imports go one way: matrix <- runners <- probes, and matrix <- reports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("matrix", "runners", "probes", "reports", "commands")
MAY_IMPORT = {
    "matrix": {"matrix"},
    "runners": {"matrix", "runners"},
    "probes": {"matrix", "runners", "probes"},
    "reports": {"matrix", "reports"},
    "commands": {"matrix", "runners", "probes", "reports", "commands"},
}
FREE = (Path("probes/conftest.py"),)
"""The face of pytest joins all rooms, as readiness.py does."""

STANDALONE = (
    "runners/shims",
    "runners/conversions",
    "runners/registries",
    "runners/relay.py",
    "runners/host_program.py",
    "probes/reference/program",
    "probes/checkpoints/program/",
    "probes/chat/rendering/",
    "probes/chat/scripting/",
    "probes/roofline/device_program.py",
)
"""These run inside the environments of others."""

ENGINES = sorted(path.stem for path in (ROOT / "runners" / "engines").glob("*.py") if path.stem != "__init__")

FILES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 1 and path.as_posix().startswith(STANDALONE):
                continue  # within a program of several modules, which has another name where it runs
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names.add(node.module or "")
    return names


def rooms(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)} & {*ROOMS, "readiness", "tests"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    """A room imports only what lies before it, absolutely, and never the front door or the tests."""
    if path in FREE:
        assert not rooms(path) & {"readiness", "tests"}
        return
    assert rooms(path) <= MAY_IMPORT[path.parts[0]]


@pytest.mark.parametrize("path", [p for p in FILES if p.as_posix().startswith(STANDALONE)], ids=str)
def test_what_runs_elsewhere_imports_nothing_of_ours(path: Path) -> None:
    """Shims, converters and the reference program run where this project is not installed."""
    assert rooms(path) == set()


def test_no_room_imports_torch_or_an_engine() -> None:
    """The harness's own environment holds neither."""
    heavy = {"torch", "vllm", "sglang", "transformers", "llama_cpp"}
    ours = (path for path in FILES if not path.as_posix().startswith(STANDALONE))
    found = {str(path): names for path in ours if (names := {n.partition(".")[0] for n in imported(path)} & heavy)}
    assert found == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_known_by_its_own_file_alone(engine: str) -> None:
    """No other file imports an engine's file: what differs is a field or a function of `Engine`."""
    others = (path for path in FILES if path.stem != engine)
    assert [str(path) for path in others if f"runners.engines.{engine}" in imported(path)] == []
