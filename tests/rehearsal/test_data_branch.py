"""`.github/data-branch` against a real remote."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / ".github" / "data-branch"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin" / "lab" / "readiness"
    subprocess.run(["git", "init", "--quiet", "--bare", str(folder)], check=True)
    return folder


def data_branch(origin: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    places = {"GITHUB_SERVER_URL": origin.parents[1].as_uri(), "GITHUB_REPOSITORY": "lab/readiness", "TOKEN": "t"}
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True, timeout=60)


def laid_out(origin: Path, folder: Path) -> list[str]:
    assert data_branch(origin, "fetch", folder).returncode == 0
    return sorted(path.name for path in folder.iterdir() if path.name != ".git")


def test_the_first_night_makes_the_branch_and_the_next_one_finds_it(origin: Path, tmp_path: Path) -> None:
    """A fork has no such branch."""
    assert laid_out(origin, tmp_path / "1") == []
    (tmp_path / "1" / "a").write_text("a")
    assert data_branch(origin, "push", tmp_path / "1", "Night 1").returncode == 0
    assert laid_out(origin, tmp_path / "2") == ["a"]


def test_who_was_faster_loses_nothing_and_neither_does_who_comes_second(origin: Path, tmp_path: Path) -> None:
    """Two pushes from the same state: both are kept."""
    laid_out(origin, tmp_path / "0")
    (tmp_path / "0" / "first").write_text("")
    data_branch(origin, "push", tmp_path / "0", "Night 0")
    for name in ("a", "b"):
        laid_out(origin, tmp_path / name)
        (tmp_path / name / name).write_text(name)
    assert data_branch(origin, "push", tmp_path / "a", "Night a").returncode == 0
    late = data_branch(origin, "push", tmp_path / "b", "Night b")
    assert late.returncode == 0, late.stderr
    assert laid_out(origin, tmp_path / "after") == ["a", "b", "first"]


def test_nothing_new_makes_no_commit(origin: Path, tmp_path: Path) -> None:
    """A night that is collected again leaves no trace."""
    laid_out(origin, tmp_path / "1")
    (tmp_path / "1" / "a").write_text("a")
    data_branch(origin, "push", tmp_path / "1", "Night 1")
    laid_out(origin, tmp_path / "2")
    assert data_branch(origin, "push", tmp_path / "2", "Night 2").stdout == "nothing is new\n"


def test_a_remote_that_does_not_answer_is_not_taken_for_a_first_night(origin: Path, tmp_path: Path) -> None:
    """Otherwise every result of the past would seem to be gone."""
    origin.rename(tmp_path / "away")
    assert data_branch(origin, "fetch", tmp_path / "1").returncode not in (0, 2)
