"""`readiness own` as whole processes on the fake engine, and the action for other repositories, played step by step."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.fake_engine.adapter import BEHAVIOUR
from tests.rehearsal.expressions import holds, rendered
from tests.runners.test_own_model import CONFIG, checkpoint
from tests.runners.wheels import wheel

ACTION = ROOT / "action.yml"


def readiness(environment: dict[str, str], cwd: Path, *arguments: str | Path, status: int = 0) -> str:
    command = [sys.executable, "-m", "readiness", *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A wheel of what stands for the fake engine, and a checkpoint."""
    (tmp_path / "dist").mkdir()
    checkpoint(tmp_path / "preview", CONFIG)
    return wheel(tmp_path / "dist" / "iniconfig-9.9+lab-py3-none-any.whl", "iniconfig", "9.9+lab")


def statuses(results: Path) -> dict[str, str]:
    """By cell and probe."""
    found = [json.loads(path.read_text()) for path in results.glob("2*/*/*.result.json")]
    return {f"{one['cell_id']} {one['probe']}": one["verdict"]["status"] for one in found}


CELL = "fake-9.9-lab__preview__cpu__default"


def test_a_wheel_and_a_checkpoint_of_ones_own_are_asked_like_any_other(
    environment: dict[str, str], released: Path, tmp_path: Path, dist: Path
) -> None:
    """The wheel itself is installed in the place of the known release, beside what that has locked."""
    said = readiness(
        environment, tmp_path, "own", "--engine", "fake", "--wheel", "dist/*.whl", "--checkpoint", "preview",
        "--matrix", released, "--into", "tables",
    )  # fmt: skip
    assert said == f"{CELL} (third-party build)\nreadiness run --matrix tables --profile own\n"
    readiness(environment, tmp_path, "run", "--matrix", "tables", "--profile", "own", "--tier", "smoke")
    probes = ("loading", "correctness", "throughput")
    assert statuses(tmp_path / "results") == {f"{CELL} {probe}": "PASS" for probe in probes}
    (file,) = (tmp_path / "results").glob("2*/*/loading.result.json")
    result = json.loads(file.read_text())
    assert result["provenance"]["build"] == "third-party"
    assert "else as fake-2.2.0." in result["provenance"]["build_note"]
    assert result["cell"]["model"]["architecture"] == CONFIG["architectures"][0]  # type: ignore[index] # a list
    (python,) = Path(environment["READINESS_CACHE"]).glob("environments/fake-9.9-lab-*/bin/python")
    program = "import iniconfig; print(iniconfig.__version__)"
    assert subprocess.check_output([python, "-c", program], text=True) == "9.9+lab\n"


def test_an_image_of_ones_own_is_planned_by_its_digest_and_in_containers(
    environment: dict[str, str], released: Path, tmp_path: Path
) -> None:
    """Nothing is pulled before it is run."""
    digest = "sha256:" + "ab" * 32
    readiness(
        environment, tmp_path, "own", "--engine", "fake", "--image", f"localhost:5000/fake:v3@{digest}",
        "--model", "pocket", "--matrix", released, "--into", "tables",
    )  # fmt: skip
    planned = readiness(environment, tmp_path, "plan", "--matrix", "tables", "--profile", "own", "--format", "json")
    (found,) = json.loads(planned)
    assert (found["id"], found["excluded"]) == ("fake-3__pocket__cpu__default", None)
    assert found["cell"]["release"]["image"]["digest"] == digest
    assert 'launcher = "docker"' in (tmp_path / "tables" / "profiles.toml").read_text().rpartition("[[profile]]")[2]


def test_without_an_image_and_a_wheel_the_newest_release_is_asked(
    environment: dict[str, str], released: Path, tmp_path: Path, dist: Path
) -> None:
    """A lab has a checkpoint and no engine of its own."""
    asked = ("own", "--engine", "fake", "--checkpoint", "preview", "--matrix", str(released), "--into")
    assert readiness(environment, tmp_path, *asked, "a").startswith("fake-2.2.0__preview__cpu__default (third-party ")
    named = readiness(environment, tmp_path, *asked, "b", "--release", "fake-2.2.0")
    assert named.startswith("fake-2.2.0__preview__cpu__default")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of --model, --checkpoint and --hub is needed"),
        (("--model", "pocket", "--checkpoint", "x"), "--model and --checkpoint: expected one of them"),
        (("--model", "poket"), "--model: unknown 'poket' (did you mean 'pocket'?"),
        (("--model", "pocket", "--engine", "fak"), "--engine: unknown 'fak' (did you mean 'fake'?"),
        (("--model", "pocket", "--engine", "vllm"), "--engine vllm: no stable release of it in "),
        (("--model", "pocket", "--device", "gpu"), "--device: unknown 'gpu'"),
        (("--model", "pocket", "--config", "fast"), "--config: unknown 'fast'"),
        (("--model", "pocket", "--release", "fake-1"), "--release: unknown 'fake-1'"),
        (("--model", "pocket", "--release", "fake-2.2.0", "--wheel", "x"), "--wheel and --release: expected one of"),
        (("--model", "pocket", "--version", "9"), "--version is what an --image or a --wheel is called"),
        (("--model", "pocket", "--wheel", "*.whl"), "--wheel '*.whl': found nothing, expected one file"),
        (("--model", "pocket", "--image", "fake"), "--image 'fake': expected REPOSITORY:TAG"),
        (("--checkpoint", "."), ".: no checkpoint, for config.json, tokenizer.json is not in it"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    environment: dict[str, str], released: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Exit status 2, and the same command can be given again."""
    words = ("--engine", "fake", *arguments, "--matrix", str(released), "--into", "tables")
    shown = readiness(environment, tmp_path, "own", *words, status=2)
    assert shown.startswith("readiness: ") and said in shown
    assert not (tmp_path / "tables").exists()


def test_what_a_rule_leaves_out_is_refused_with_its_reason(
    environment: dict[str, str], released: Path, tmp_path: Path
) -> None:
    """A run of nothing would only say that nothing was decided."""
    rule = '[[exclude]]\ncells = "fake-2.2.0__pocket__cpu__default"\nreason = "it never could"\n'
    (released / "rules.toml").write_text(rule)
    words = ("--engine", "fake", "--model", "pocket", "--matrix", str(released), "--into", "tables")
    shown = readiness(environment, tmp_path, "own", *words, status=2)
    assert shown == "readiness: fake-2.2.0__pocket__cpu__default cannot be asked: it never could\n"
    assert not (tmp_path / "tables").exists()


# --- the action -------------------------------------------------------------------------------------------


@pytest.fixture
def checked_out(tmp_path: Path) -> Path:
    """This project as a runner lays it out for who uses the action; its environment is there already."""
    folder = tmp_path / "_actions" / "readiness-matrix"
    folder.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, (0, 0))  # older than the environment, which `make setup` then leaves as it is
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


class Played:
    """What came of the action's steps: words, the job's page, artifacts, and the status of the first failure."""

    def __init__(self) -> None:
        self.log = self.summary = ""
        self.kept: dict[str, list[Path]] = {}
        self.status = 0


def play(environment: dict[str, str], action: Path, workspace: Path, given: Mapping[str, str]) -> Played:
    """The `run:` steps in bash as GitHub runs them; of the others what is kept, by name."""
    document = YAML(typ="safe").load(ACTION.read_text())
    inputs = {name: about.get("default", "") for name, about in document["inputs"].items()}
    assert given.keys() <= inputs.keys()
    places = {name: workspace.parent / f"{name.lower()}" for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    outputs: dict[str, Any] = {"folder": ""}
    runner = {**environment, **{name: str(path) for name, path in places.items()}}
    runner |= {"GITHUB_ACTION_PATH": str(action), "RUNNER_TEMP": str(workspace.parent / "temp")}
    played = Played()
    for step in document["runs"]["steps"]:
        context: dict[str, Any] = {"inputs": {**inputs, **given}, "steps": {"own": {"outputs": outputs}}}
        good = played.status == 0
        if not holds(step.get("if"), {**context, "success": lambda good=good: good, "always": lambda: True}):
            continue
        if "run" not in step:
            values = {name: rendered(value, context) for name, value in step["with"].items()}
            if "path" in values:
                played.kept[values["name"]] = [Path(path) for path in values["path"].split()]
            continue
        added = {name: str(rendered(value, context)) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=workspace,
            env={**runner, **added}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        played.log += done.stdout + done.stderr
        played.status = played.status or done.returncode
        if step.get("id") == "own" and places["GITHUB_OUTPUT"].exists():
            outputs = dict(line.split("=", 1) for line in places["GITHUB_OUTPUT"].read_text().splitlines())
    played.summary = places["GITHUB_STEP_SUMMARY"].read_text() if places["GITHUB_STEP_SUMMARY"].exists() else ""
    return played


@pytest.mark.parametrize(("behaviour", "status", "mark"), [("", 0, "🟢 3 right"), ("shifted", 1, "🔴 2 runs")])
def test_the_action_asks_what_it_is_given_shows_the_grid_and_ends_as_the_run_does(
    environment: dict[str, str],
    released: Path,
    checked_out: Path,
    tmp_path: Path,
    dist: Path,
    behaviour: str,
    status: int,
    mark: str,
) -> None:
    """Paths are those of the workspace of whoever uses it; results, site and JUnit XML are kept, red or green."""
    env = {**environment, "READINESS_MATRIX": str(released), BEHAVIOUR: behaviour}
    given = {"engine": "fake", "wheel": "dist/*.whl", "checkpoint": "preview", "tier": "smoke"}
    workspace = dist.parents[1] / "work"
    workspace.mkdir()
    for name in ("dist", "preview"):
        (tmp_path / name).rename(workspace / name)
    played = play(env, checked_out, workspace, given)
    assert played.status == status, played.log
    assert mark in played.summary
    (kept,) = played.kept.values()
    assert list(played.kept) == ["readiness"]
    assert [path.name for path in kept] == ["results", "site", "junit.xml"]
    assert all(path.exists() for path in kept)
    assert statuses(kept[0])[f"{CELL} correctness"] == ("FAIL" if behaviour else "PASS")


def test_the_action_says_what_is_wrong_with_its_input_and_keeps_nothing(
    environment: dict[str, str], released: Path, checked_out: Path, tmp_path: Path
) -> None:
    """A value with a command in it is a value."""
    env = {**environment, "READINESS_MATRIX": str(released)}
    (tmp_path / "work").mkdir()
    given = {"engine": "fake", "model": "$(touch hacked)` touch hacked`; touch hacked"}
    played = play(env, checked_out, tmp_path / "work", given)
    assert played.status == 2
    assert "readiness: --model: unknown '$(touch hacked)` touch hacked`; touch hacked'" in played.log
    assert (played.kept, played.summary) == ({}, "")
    assert list((tmp_path / "work").iterdir()) == []


def test_the_documented_uses_know_the_inputs_and_the_first_takes_ten_lines() -> None:
    """What is shown to others can be copied."""
    known = YAML(typ="safe").load(ACTION.read_text())["inputs"].keys()
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.S)
    own = [textwrap.dedent(block) for block in blocks if "OWNER/readiness-matrix@" in block]
    assert len(own[0].splitlines()) == 10
    for block in own:
        document = YAML(typ="safe").load(block)
        steps = (
            document if isinstance(document, list) else document.get("steps") or document["jobs"]["readiness"]["steps"]
        )
        assert steps[-1]["with"].keys() <= known
        assert "engine" in steps[-1]["with"]
