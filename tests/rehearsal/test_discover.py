"""The daily look for new models and releases, played as it stands in `.github/workflows`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.test_discover import CONFIG, WATCH, repo
from tests.conftest import ROOT
from tests.rehearsal.stage import Stage
from tests.runners.hub_server import Hub, serving

DISCOVER = ROOT / ".github" / "workflows" / "discover.yml"
LOOK, PROPOSE = "look", "pull request"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


@pytest.fixture
def stage(environment: dict[str, str], tables: Path, tmp_path: Path, hub: Hub) -> Stage:
    """A repository whose tables are those of the fake engine, and a hub of our own."""
    (tables / "watch.toml").write_text(WATCH)
    nowhere = {"DOCKER_HOST": "unix:///nowhere", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    texts = {str(path.relative_to(tables.parent)): path.read_text() for path in tables.rglob("*") if path.is_file()}
    made = Stage(folder=tmp_path / "github", environment={**environment, "HF_ENDPOINT": hub.url, **nowhere})
    made.added = {"matrix/controls.toml": "", **texts}  # that of the engines that we ship
    return made


def branch(stage: Stage, path: str) -> str:
    """A file of the branch that is proposed."""
    return subprocess.check_output(["git", "-C", str(stage.origin), "show", f"discover:{path}"], text=True)


def commits(stage: Stage) -> list[str]:
    """Titles and authors of all commits of that branch."""
    command = ["git", "-C", str(stage.origin), "log", "--format=%s, %an", "discover"]
    return subprocess.check_output(command, text=True).splitlines()


def as_ann(stage: Stage, folder: Path) -> None:
    """A person adds a commit to the branch."""
    name = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@lab"}
    name |= {"GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@lab"}
    for arguments in (
        ["clone", "--quiet", "--branch", "discover", stage.origin.as_uri(), str(folder)],
        ["-C", str(folder), "commit", "--quiet", "--allow-empty", "--message", "A better name"],
        ["-C", str(folder), "push", "--quiet", "origin", "discover"],
    ):
        subprocess.run(["git", *arguments], env={**os.environ, **name}, check=True)


def test_what_is_found_becomes_one_pull_request_that_the_next_look_brings_up_to_date(stage: Stage, hub: Hub) -> None:
    """Its branch is one commit above the repository as it is; with nothing new there is none."""
    first = stage.play(DISCOVER, "1")
    assert first.results == {LOOK: "success", PROPOSE: "success"}, "\n".join(job.log for job in first.jobs.values())
    assert stage.github.pulls == {} and "nothing is new" in first.jobs[PROPOSE].log
    hub.add(repo())
    second = stage.play(DISCOVER, "2")
    assert second.results == {LOOK: "success", PROPOSE: "success"}, "\n".join(job.log for job in second.jobs.values())
    (pull,) = stage.github.pulls.values()
    assert (pull["title"], pull["head"]["ref"], pull["base"]["ref"]) == ("1 new model", "discover", "main")
    assert pull["body"].startswith("Found by `readiness discover` on ")
    assert pull["body"] in second.jobs[LOOK].summary
    assert 'id = "new-1b"' in branch(stage, "matrix/models.toml")
    assert 'published = "google/new-1b"' in branch(stage, "probes/checkpoints/recipes/new-1b.toml")
    assert commits(stage) == ["1 new model, github-actions[bot]", "As it is, Ann"]
    hub.add(repo("openai/other-1b", {**CONFIG, "architectures": ["OtherForCausalLM"]}))
    third = stage.play(DISCOVER, "3")
    assert third.results == {LOOK: "success", PROPOSE: "success"}, "\n".join(job.log for job in third.jobs.values())
    (pull,) = stage.github.pulls.values()
    assert pull["title"] == "2 new models" and "OtherForCausalLM" in pull["body"]
    assert commits(stage) == ["2 new models, github-actions[bot]", "As it is, Ann"]


def test_a_branch_that_a_person_has_added_to_stays_as_it_is(stage: Stage, hub: Hub, tmp_path: Path) -> None:
    """And its pull request keeps its text; the job's page has what is new."""
    hub.add(repo())
    stage.play(DISCOVER, "1")
    as_ann(stage, tmp_path / "ann")
    before = json.dumps(stage.github.pulls)
    hub.add(repo("openai/other-1b"))
    later = stage.play(DISCOVER, "2")
    assert later.results == {LOOK: "success", PROPOSE: "success"}
    assert "::notice::somebody has added to the branch discover" in later.jobs[PROPOSE].log
    assert commits(stage)[0] == "A better name, Ann" and json.dumps(stage.github.pulls) == before
    assert "openai/other-1b" in later.jobs[LOOK].summary


def test_a_look_that_some_do_not_answer_is_red_and_what_the_others_have_is_proposed(stage: Stage, hub: Hub) -> None:
    """Nobody may take silence for no news, nor lose news by it."""
    hub.add(repo())
    hub.refusals["/api/models?author=openai"] = [(503, {"Retry-After": "0"})] * 9
    played = stage.play(DISCOVER, "1")
    assert played.results == {LOOK: "failure", PROPOSE: "success"}
    assert [pull["title"] for pull in stage.github.pulls.values()] == ["1 new model"]


def test_tables_that_do_not_load_end_the_look_and_nothing_is_proposed(stage: Stage, hub: Hub) -> None:
    """Exit status 2 is no answer."""
    hub.add(repo())
    stage.added["matrix/models.toml"] = "[[model]]\nid = 3\n"
    played = stage.play(DISCOVER, "1")
    assert played.results == {LOOK: "failure"}
    assert "models.toml" in played.jobs[LOOK].log and stage.github.pulls == {}


def test_where_jobs_may_open_no_pull_request_the_job_says_which_permission_it_lacks(stage: Stage, hub: Hub) -> None:
    """It is a setting of the repository, and off at first; the branch is there for a person to open one."""
    hub.add(repo())
    stage.github.pulls_permitted = False
    played = stage.play(DISCOVER, "1")
    assert played.results == {LOOK: "success", PROPOSE: "failure"}
    assert "GitHub Actions is not permitted to create or approve pull requests" in played.jobs[PROPOSE].log
    assert commits(stage)[0] == "1 new model, github-actions[bot]"
