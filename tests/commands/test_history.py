"""`readiness history` as whole processes, over real releases of a small package that stands for an engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import bench
from tests.fake_engine.adapter import BEHAVIOUR

CELL = "fake-{}__pocket__cpu__default"
APPEARED = [{"architecture": "Pocket", "version": "4.30.0", "released": "2023-06-08"}]
"""Else every run would look for a class of that name in all of transformers."""


def history(environment: dict[str, str], cwd: Path, *arguments: str | Path, status: int = 0) -> str:
    env = {**environment, "READINESS_ENGINES": "tests.fake_engine.released"}
    command = [sys.executable, "-m", "readiness", "history", "--profile", "quick", *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def appeared(tmp_path: Path) -> Path:
    """What is known of the only class."""
    path = tmp_path / "results" / "chronicles" / "appearances.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(APPEARED))
    return path


def moments(cwd: Path) -> dict[str, str]:
    found: dict[str, Any] = json.loads((cwd / "results" / "chronicles" / "fake.json").read_text())
    return {one["release"]: one["untried"] for one in found["moments"]}


def statuses(cwd: Path) -> dict[str, str]:
    files = sorted((cwd / "results").glob("2*/*/correctness.result.json"))
    found = [json.loads(path.read_text()) for path in files]
    return {one["cell"]["release"]["version"]: one["verdict"]["status"] for one in found}


@pytest.mark.usefixtures("appeared")
def test_every_release_since_a_day_is_asked_once_and_dated_by_the_index(
    environment: dict[str, str], released: Path, tmp_path: Path
) -> None:
    """2.2.0 and 2.1.0 are shifted, 2.0.0 is right; asked again, nothing is run; the environments are gone."""
    asked = ("--since", "2023-01-01", "--matrix", released)
    said = history(environment, tmp_path, *asked)
    assert said.count("1 of 1 cells to ask") == said.count("cells to ask") == len(moments(tmp_path))
    assert statuses(tmp_path)["2.0.0"] == "PASS"
    assert (statuses(tmp_path)["2.1.0"], statuses(tmp_path)["2.2.0"]) == ("FAIL", "FAIL")
    assert set(moments(tmp_path).values()) == {""}
    (result,) = (tmp_path / "results").glob(f"2*/{CELL.format('2.0.0')}/correctness.result.json")
    assert json.loads(result.read_text())["cell"]["release"]["released"] == "2023-01-07"
    again = history(environment, tmp_path, *asked)
    assert again.count("0 of 1 cells to ask") == len(moments(tmp_path))
    environments = Path(environment["READINESS_CACHE"]) / "environments"
    assert not [path for path in environments.iterdir() if path.is_dir() and path.name.startswith("fake-2.0.0")]


@pytest.mark.usefixtures("appeared")
def test_releases_that_were_not_chosen_and_one_that_cannot_be_had_are_named(
    environment: dict[str, str], released: Path, tmp_path: Path
) -> None:
    """Three of five: the newest, the oldest, which nothing resolves, and the one in the middle."""
    with (released / "requirements" / "fake.in").open("a") as file:
        file.write("iniconfig>=2\n")
    said = history(environment, tmp_path, "--since", "2020-10-12", "--at-most", "3", "--matrix", released, status=3)
    found = moments(tmp_path)
    assert list(found) == [f"fake-{version}" for version in ("1.1.0", "1.1.1", "2.0.0", "2.1.0", "2.2.0")]
    assert found["fake-1.1.0"].startswith("uv pip compile exited with code 1: ")
    assert found["fake-1.1.1"] == found["fake-2.1.0"] == "not among those that were to be tried"
    assert found["fake-2.0.0"] == found["fake-2.2.0"] == ""
    assert "fake-1.1.0 (2020-10-14): uv pip compile exited with code 1" in said


@pytest.mark.usefixtures("appeared")
def test_one_that_is_stopped_takes_its_run_and_the_engine_of_it_down(
    environment: dict[str, str], released: Path, tmp_path: Path, mark: str
) -> None:
    """Though SIGTERM reaches it alone."""
    env = {**environment, "READINESS_ENGINES": "tests.fake_engine.released", BEHAVIOUR: "stall"}
    command = [sys.executable, "-m", "readiness", "history", "--profile", "quick", "--since", "2023-01-01"]
    process = subprocess.Popen([*command, "--matrix", str(released)], env=env, cwd=tmp_path)
    try:
        end = time.monotonic() + 120
        while not bench.engines(mark) and time.monotonic() < end:
            time.sleep(0.1)  # polls for the engine; bounded by `end`
        assert len(bench.engines(mark)) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.wait()
    assert bench.marked(mark) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "'yesterday' is no day such as 2026-06-01"),
        (("--since", "2023-01-01", "--engines", "vlm"), "--engines: no 'vlm' among these cells"),
        (("--since", "2123-01-01"), "the package index has no release of iniconfig from that day on"),
        (("--since", "2023-01-01", "--select", "nothing-*"), "--select 'nothing-*' matches no cell"),
    ],
)
@pytest.mark.usefixtures("appeared")
def test_wrong_input_is_refused_before_anything_is_run(
    environment: dict[str, str], released: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """One line, exit status 2."""
    shown = history(environment, tmp_path, *arguments, "--matrix", released, status=2)
    assert said in " ".join(shown.replace("│", " ").split())
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["chronicles"]
