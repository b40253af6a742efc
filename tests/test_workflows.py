"""What every workflow of ours holds to; that they work is shown in tests/rehearsal."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from matrix.cells import ScriptSource
from matrix.jobs import MOST_CELLS
from probes import tables
from probes.checkpoints import recipes
from tests.conftest import ROOT
from tests.rehearsal.expressions import rendered

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FILES = [*WORKFLOWS, ROOT / "action.yml", *sorted((ROOT / ".github" / "actions").glob("*/action.yml"))]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PINNED = re.compile(
    r"uses: (?:\./\.github/(?:actions/[a-z]+|workflows/[a-z]+\.yml)|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$"
)


def read(path: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(path.read_text()))


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            yield f"{path.stem}: {name}", job


JOBS = dict(jobs())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_action_is_pinned_by_its_commit_with_the_version_beside_it(path: Path) -> None:
    """A tag can be moved; a commit cannot."""
    lines = [line.strip().removeprefix("- ") for line in path.read_text().splitlines()]
    used = [line for line in lines if "uses:" in line and not line.startswith("#")]
    assert [line for line in used if not PINNED.search(line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_is_permitted_but_by_a_job_and_a_newer_run_knows_of_an_older_one(path: Path) -> None:
    """`permissions: {}` and `concurrency` stand at the top."""
    document = read(path)
    assert document["permissions"] == {}
    assert document["concurrency"]["group"]


@pytest.mark.parametrize("name", JOBS)
def test_every_job_has_a_time_limit_and_states_its_permissions(name: str) -> None:
    """A job that hangs does not hang for six hours; of a called workflow each job has its own limit."""
    assert JOBS[name].keys() & {"timeout-minutes", "uses"}
    assert JOBS[name]["permissions"]


RUNS_ENGINES = re.compile(r"readiness run|readiness reproduce|make test")


def test_the_jobs_that_may_write_to_the_repository_run_no_engine() -> None:
    """Those keep results and what repros have shown; everything else only reads."""
    writing = {name: job for name, job in JOBS.items() if job["permissions"].get("contents") == "write"}
    assert list(writing) == [
        "discover: propose", "microscope: collect", "nightly: collect", "nightly: bugs", "release: github",
    ]  # fmt: skip
    steps = [step.get("run", "") for job in writing.values() for step in job["steps"]]
    assert not [step for step in steps if RUNS_ENGINES.search(step)]


def test_no_secret_is_in_a_job_that_runs_an_engine() -> None:
    """An engine, and a checkpoint's own code, must find nothing worth stealing."""
    running = {name: str(job) for name, job in JOBS.items() if RUNS_ENGINES.search(str(job))}
    assert sorted(running) == ["cells: cells", "ci: quick", "ci: test", "nightly: repros"]
    assert [name for name, text in running.items() if "secrets." in text or "token" in text] == []
    assert [name for name, job in JOBS.items() if "secrets." in str(job)] == ["nightly: prefetch"]


@pytest.mark.parametrize("name", JOBS)
def test_no_expression_stands_in_a_script(name: str) -> None:
    """Values reach a script through its environment, where they cannot become commands."""
    assert [step["run"] for step in JOBS[name].get("steps", ()) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", ["ci: quick", "cells: cells"])
def test_where_engines_run_a_cancel_reaches_pytest_and_nothing_stays_behind(name: str) -> None:
    """The step becomes the program that gets the signal, and `readiness reap` runs whatever happened."""
    steps = JOBS[name]["steps"]
    running = next(i for i, step in enumerate(steps) if "readiness run" in step.get("run", ""))
    assert steps[running]["run"].strip().splitlines()[-1].startswith("exec .venv/bin/readiness run")
    assert {"if": "always()", "run": ".venv/bin/readiness reap"}.items() <= steps[running + 1].items()


def test_a_job_keeps_as_many_cells_as_the_plan_gives_it() -> None:
    """Each cell of a job has a step that makes its artifact."""
    kept = [step["with"]["cell"] for step in JOBS["cells: cells"]["steps"] if str(step.get("uses")).endswith("/keep")]
    assert kept == [f"${{{{ matrix.cells[{index}] }}}}" for index in range(MOST_CELLS)]


def test_the_nightly_profile_holds_every_cell_of_quick() -> None:
    """Hosted CPU runners run `quick`; weights whose licence lets nobody pass them on stay out, jobs hand them on.

    So do tiny and scripted checkpoints, which are made where they are needed.
    """
    matrix = tables.matrix()
    quick, nightly = matrix.profiles["quick"], matrix.profiles["nightly"]
    assert nightly.releases == nightly.devices == ("*",)
    assert nightly.configs == quick.configs
    ids = {pattern: fnmatch.filter(matrix.models, pattern) for pattern in (*nightly.models, *quick.models)}
    chosen = {name for pattern in nightly.models for name in ids[pattern]}
    assert {name for pattern in quick.models for name in ids[pattern]} <= chosen
    published = matrix.models.keys() - {model.id for model in recipes.models()}
    scripted = {name for name, model in matrix.models.items() if isinstance(model.source, ScriptSource)}
    assert chosen == {name for name in published - scripted if matrix.models[name].may_be_passed_on}


def test_one_job_may_write_issues_and_does_so_on_schedule_of_the_default_branch_alone() -> None:
    """What is run by hand, or on a branch, only says what it would do."""
    writing = {name: job for name, job in JOBS.items() if job["permissions"].get("issues") == "write"}
    assert list(writing) == ["nightly: bugs"]
    job = writing["nightly: bugs"]
    assert job["concurrency"] == {"group": "tracker", "cancel-in-progress": False}
    (step,) = [step for step in job["steps"] if "readiness bugs" in step.get("run", "")]
    assert "--file" not in step["run"]
    for event, branch, mode in (
        ("schedule", "main", "--file"), ("schedule", "other", "--dry-run"), ("workflow_dispatch", "main", "--dry-run"),
    ):  # fmt: skip
        github = {"event_name": event, "ref_name": branch, "event": {"repository": {"default_branch": "main"}}}
        assert rendered(step["env"]["MODE"], {"github": github}) == mode


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_no_form_gives_the_label_by_which_failures_are_known(path: Path) -> None:
    """Whoever may not write here sets no label, and a form would do it for them."""
    form = read(path)
    assert "labels" not in form
    assert {"name", "description", "body"} <= form.keys() or path.name == "config.yml"
