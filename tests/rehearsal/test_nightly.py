"""The nightly workflow, played as it stands in `.github/workflows/nightly.yml`, on two small cells."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from matrix.load import PACKAGED
from runners.images import Ready
from tests.conftest import ROOT
from tests.fake_engine import bench
from tests.fake_engine.adapter import BEHAVIOUR
from tests.rehearsal.stage import Lost, Stage, cancelled

NIGHTLY, CI = (ROOT / ".github" / "workflows" / name for name in ("nightly.yml", "ci.yml"))

RELEASE = "llama-cpp-python-0.3.36"

TOKEN = "token-of-" + "the-hub"
"""In two parts, because this file lies in every workspace too."""

FIRST, SECOND = "fake-0.0.1 on cpu", "fake-0.0.2 on cpu"
"""The two jobs that run cells."""

REPRO = "import numpy, sys\nprint('expected 1, seen 2')\nsys.exit(1)\n"
"""What a person has written of the fake engine's failure; it runs where the engine is installed."""

REAL = """
[[profile]]
id = "{profile}"
description = "Real engines, little work."
launcher = "docker"
tier = "smoke"
releases = {releases}
models = ["smollm2-135m-instruct"]
devices = ["cpu"]
configs = ["default"]
"""

LITTLE_WORK = """
[[device]]
id = "cpu"
kind = "cpu"
accelerators = 0
speed_judged = false # a machine that runs tests is busy
canary_tolerance = 10.0
runner = ["ubuntu-24.04"]

[device.workload]
corpus_sequences = 16
corpus_length = 64
decode_sequences = 8
decode_prompt_length = 32
decode_tokens = 8
speed_repeats = 2
shapes = [{ id = "D1", prompt_tokens = 32, output_tokens = 8 }]
"""
"""A real engine decodes some ten tokens a second on a small machine; what is rehearsed here is the loop around it."""

EVERY: Mapping[str, object] = {"every_cell": True}
"""Started by hand for what is unchanged too."""

CELLS = ("fake-0.0.1__pocket__cpu__default", "fake-0.0.2__pocket__cpu__default")


@pytest.fixture
def stage(environment: dict[str, str], tables: Path, tmp_path: Path) -> Stage:
    """A fork on its first day: no data branch, no results."""
    runners = {**environment, "READINESS_MATRIX": str(tables)}
    return Stage(folder=tmp_path / "github", environment=runners, secrets={"HF_TOKEN": TOKEN})


def statuses(data: Path) -> list[str]:
    """Statuses of all results of a data branch, in the order of their files."""
    return [
        json.loads(path.read_text())["verdict"]["status"] for path in sorted(data.glob("results/*/*/*.result.json"))
    ]


def grid_of(stage: Stage) -> dict[str, object]:
    assert stage.published is not None
    return dict(json.loads((stage.published / "grid.json").read_text()))


def squares(stage: Stage) -> dict[str, dict[str, Any]]:
    found = grid_of(stage)["squares"]
    assert isinstance(found, list)
    return {square["release"]: square for square in found}


def levels(stage: Stage) -> dict[str, int]:
    return {release: square["level"] for release, square in squares(stage).items()}


def until_serving(process: subprocess.Popen[str], mark: str) -> None:
    """Wait until the step's engine is there; bounded."""
    end = time.monotonic() + 90
    while not bench.engines(mark):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)  # polls for the engine; bounded by `end`


def test_a_fork_is_green_on_its_first_night(stage: Stage) -> None:
    """Every job succeeds, the site shows the newer release, and the device without a runner is left out and said so.

    The hub's token, which one job has, is in no log and in no file that a job leaves.
    """
    night = stage.play(NIGHTLY, "1001")
    assert night.results == {
        "plan": "success", "models and references": "success", FIRST: "success", SECOND: "success",
        "collect": "success", "grid": "success", "Pages": "success", "drafts of bugs": "success",
        "repros": "success", "tracker": "success",
    }, "\n".join(job.log for job in night.jobs.values())  # fmt: skip
    assert levels(stage) == {"fake-0.0.2": 3}
    assert "fake-0.0.1__pocket__borrowed__default`: no runner for borrowed" in night.jobs["plan"].summary
    prefetched = night.jobs["models and references"].log
    assert prefetched.count("reference of pocket") == 1, prefetched  # none for the device without a runner
    assert "🟢 3 right" in night.jobs["grid"].summary
    assert "No engine fails unexpectedly." in night.jobs["tracker"].summary
    assert stage.github.issues == {}
    assert sorted(path.name for path in stage.artifacts("1001").iterdir()) == [
        *(f"night-{cell}-1" for cell in CELLS), "night-plan-1", "site-1",
    ]  # fmt: skip
    pages = {path.name for path in (stage.published or Path()).glob("cells/*.html")}
    assert pages == {f"{cell}.html" for cell in CELLS}
    assert not [name for name, job in night.jobs.items() if TOKEN in job.log + job.summary]
    left = [path for path in stage.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in left if TOKEN.encode() in path.read_bytes()]


def test_a_night_on_which_nothing_has_changed_asks_nothing_and_says_so(stage: Stage) -> None:
    """No engine is started, no square fades, and nothing is red for it."""
    stage.play(NIGHTLY, "1001")
    quiet = stage.play(NIGHTLY, "1002")
    assert set(quiet.results.values()) == {"success"}, "\n".join(job.log for job in quiet.jobs.values())
    assert not quiet.results.keys() & {FIRST, SECOND, "models and references"}
    assert f"- left out: `{CELLS[1]}`: unchanged since it was asked on" in quiet.jobs["plan"].summary
    assert levels(stage) == {"fake-0.0.2": 3}
    assert grid_of(stage)["alerts"] == []
    assert len(statuses(stage.data())) == 6


def test_a_failure_that_comes_again_is_drafted_and_filed_once_with_the_same_id(stage: Stage) -> None:
    """One bad night waits; the second one drafts; it is filed once a repro has shown it, which is executed once."""
    stage.environment[BEHAVIOUR] = "shifted"
    first = stage.play(NIGHTLY, "1001")
    assert first.results[FIRST] == first.results[SECOND] == "failure"
    assert first.results["Pages"] == first.results["tracker"] == "success"
    assert levels(stage) == {"fake-0.0.2": 2}
    assert not (stage.artifacts("1001") / "drafts-1").exists()
    assert "seen once, waits for a second run" in first.jobs["tracker"].summary
    assert stage.github.issues == {}
    second = stage.play(NIGHTLY, "1002")
    (draft,) = (stage.artifacts("1002") / "drafts-1").iterdir()
    assert re.fullmatch(r"fake-correctness-[0-9a-f]{12}\.md", draft.name)
    assert "no standalone repro of it could be made" in second.jobs["tracker"].summary
    assert stage.github.issues == {}
    text = draft.read_text()
    assert f"Failure `{draft.stem}`" in text
    assert f"--profile nightly --launcher venv --select {CELLS[1]}" in text
    assert f"- `{CELLS[1]}: FAIL on " in text  # the newer release is what counts
    stage.added[f"repros/{draft.stem}.py"] = REPRO
    for night in ("1003", "1004"):
        played = stage.play(NIGHTLY, night)
        assert (stage.artifacts(night) / "drafts-1" / draft.name).is_file()
        (issue,) = stage.github.seen().values()
        assert (issue["state"], issue["labels"], issue["comments"]) == ("open", ["engine-failure", "engine: fake"], [])
        assert f"Failure `{draft.stem}`" in issue["body"] and "expected 1, seen 2" in issue["body"]
    assert played.jobs["repros"].log.count("it shows the fault") == 0  # what was shown is kept on the data branch
    (kept,) = stage.data().glob("results/reproductions/*.json")
    assert kept.stem == draft.stem


def test_a_lost_runner_and_a_lost_artifact_lose_nothing_else_and_trying_again_does_nothing_twice(
    stage: Stage, mark: str
) -> None:
    """The site is built without them and says so; a second attempt measures just those, and a third one nothing."""
    stage.play(NIGHTLY, "1001")
    before = {path.relative_to(path.parents[3]): path.read_bytes() for path in stage.data().glob("results/*/*/*")}

    def lose(process: subprocess.Popen[str]) -> None:
        until_serving(process, mark)
        raise Lost

    def no_artifact(process: subprocess.Popen[str]) -> None:
        """The job ends well, but what it kept never arrives: its name is taken by something else."""
        (stage.artifacts("1002") / f"night-{CELLS[1]}-1").mkdir()

    night = stage.play(NIGHTLY, "1002", inputs=EVERY, trouble={FIRST: lose, SECOND: no_artifact})
    assert bench.engines(mark) == []  # the other job's `readiness reap` has found it
    assert night.results[FIRST] == night.results[SECOND] == "failure"
    assert night.results["grid"] == "failure"  # exit status 3: the night brought nothing
    assert night.results["Pages"] == "success"
    assert "night 1002 has brought no decided result" in night.jobs["grid"].log
    alerts = grid_of(stage)["alerts"]
    assert isinstance(alerts, list)
    assert levels(stage) == {"fake-0.0.2": 3}  # of the night before

    again = stage.play(NIGHTLY, "1002", attempt=2)
    assert set(again.results.values()) == {"success"}, "\n".join(job.log for job in again.jobs.values())
    data = stage.data()
    assert statuses(data) == ["PASS"] * 12
    assert all((data / name).read_bytes() == content for name, content in before.items())

    commits = subprocess.check_output(["git", "-C", stage.origin, "rev-list", "--count", "data"], text=True)
    third = stage.play(NIGHTLY, "1002", attempt=3)
    assert third.results == {
        "plan": "success", "collect": "success", "grid": "success", "Pages": "success", "drafts of bugs": "success",
        "repros": "success", "tracker": "success",
    }  # fmt: skip
    assert f"measured already in this run of the workflow: `{CELLS[0]}`" in third.jobs["plan"].summary
    assert statuses(stage.data()) == ["PASS"] * 12
    assert subprocess.check_output(["git", "-C", stage.origin, "rev-list", "--count", "data"], text=True) == commits


def test_a_cancelled_job_keeps_what_it_measured_and_leaves_no_engine(stage: Stage, mark: str) -> None:
    """The signal reaches pytest itself, and the cell's artifact says what never ran.

    Where Pages is not on, the site is an artifact, and nothing fails for want of it.
    """
    stage.github.pages_on = False
    stage.environment[BEHAVIOUR] = "stall"
    engines_after = []

    def cancel(process: subprocess.Popen[str]) -> None:
        until_serving(process, mark)
        cancelled(process)
        engines_after.append(bench.engines(mark))

    night = stage.play(NIGHTLY, "1001", trouble={FIRST: cancel, SECOND: cancel})
    assert engines_after == [[], []], night.jobs[FIRST].log
    assert night.results["collect"] == "success"
    assert "NOTRUN" in statuses(stage.data()), night.jobs[FIRST].log
    assert "Pages" not in night.results
    assert "Pages is not on (the API answers 404)" in night.jobs["grid"].summary
    assert (stage.artifacts("1001") / "site-1" / "index.html").is_file()


def real_stage(folder: Path, mark: str, *, profile: str, releases: list[str]) -> Stage:
    """The packaged tables with one profile of some real releases, and no rules, which would match none of its cells."""
    tables = folder / "matrix"
    shutil.copytree(PACKAGED, tables)
    (tables / "profiles.toml").write_text(REAL.format(profile=profile, releases=json.dumps(releases)))
    (tables / "devices.toml").write_text(LITTLE_WORK)
    (tables / "rules.toml").write_text("")
    runners = {**os.environ, "READINESS_MATRIX": str(tables), "COLUMNS": "200", bench.MARK: mark}
    return Stage(folder=folder / "github", environment=runners)


@pytest.mark.engine
@pytest.mark.docker
def test_the_loop_on_two_real_engines_in_containers(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """Nothing is stood in for but GitHub: real images, a real model, its reference, and the site of what was found."""
    stage = real_stage(tmp_path, mark, profile="nightly", releases=["llama-cpp-python-*", "transformers-*"])
    night = stage.play(NIGHTLY, "1001")
    assert set(night.results.values()) == {"success"}, "\n".join(job.log for job in night.jobs.values())
    asked = {release: one for release, square in squares(stage).items() for one in square["statuses"].values()}
    assert asked == {
        RELEASE: {"loading": "PASS", "correctness": "PASS", "throughput": "PASS"},
        # Text alone takes some 900 tokens for a verdict, and may have 512 here.
        "transformers-5.23.0": {"loading": "PASS", "correctness": "UNDECIDED", "throughput": "PASS"},
    }
    (parcels,) = (path for path in stage.artifacts("1001").iterdir() if path.name.startswith("parcels-"))
    kinds = {path.name.partition("__")[0] for path in parcels.iterdir()}
    assert kinds == {"models", "references", "coverage"}


@pytest.mark.engine
@pytest.mark.docker
def test_a_change_runs_each_release_of_quick_in_a_job_of_its_own(tmp_path: Path, fake_image: Ready, mark: str) -> None:
    """The jobs of `ci.yml` that run engines, with one real one."""
    stage = real_stage(tmp_path, mark, profile="quick", releases=["llama-cpp-python-*"])
    change = stage.play(CI, "2001", only=("plan", "quick"))
    assert change.results == {"what quick holds": "success", f"quick, {RELEASE} on cpu": "success"}, "\n".join(
        job.log for job in change.jobs.values()
    )
    kept = stage.artifacts("2001") / f"quick-{RELEASE}__smollm2-135m-instruct__cpu__default-1"
    assert {path.name for path in kept.iterdir()} == {"results", "site", "junit.xml"}
