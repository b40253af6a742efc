"""A stage on which a workflow is played: its own `run:` steps in bash, its actions by stand-ins with the same contract.

Each job gets a workspace of its own, and nothing but artifacts, outputs and the data branch passes between jobs.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.github.server import REPOSITORY, GitHub, serving
from tests.rehearsal.expressions import as_text, evaluate, holds, rendered

ROOT = Path(__file__).parents[2]
STEP_DEADLINE_S = 1800
"""Several times what a cell of a real engine took on the slowest machine seen (540 s and more on two AVX2 cores)."""

SIGINT_PATIENCE_S, SIGTERM_PATIENCE_S = 7.5, 2.5
"""How long a runner waits after each signal when a run is cancelled."""

AS_A_PERSON = ("-c", "user.name=Ann", "-c", "user.email=ann@lab")


class Lost(Exception):
    """The runner of this job is gone: nothing more of it happens."""


@dataclass
class Job:
    """What came of one job."""

    name: str
    result: str = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""


@dataclass
class Attempt:
    """What came of one attempt of a workflow run."""

    jobs: dict[str, Job] = field(default_factory=dict)
    """By displayed name."""

    @property
    def results(self) -> dict[str, str]:
        return {name: job.result for name, job in self.jobs.items()}


Trouble = Callable[[subprocess.Popen[str]], None]
"""Does something to a running step; raises Lost where it took the runner with it."""


@dataclass
class Stage:
    """A repository on a GitHub of our own: origin with its data branch, artifacts by run, Pages."""

    folder: Path
    environment: dict[str, str]
    """Of the runners."""
    secrets: dict[str, str] = field(default_factory=dict)
    github: GitHub = field(default_factory=GitHub)
    """What its API knows: whether Pages is on, and the issues."""
    published: Path | None = None
    """The site as Pages shows it."""
    added: dict[str, str] = field(default_factory=dict)
    """Files that a person has added to the repository, by path."""
    _plays: int = 0

    def __post_init__(self) -> None:
        self.origin = self.folder / "origin" / REPOSITORY
        subprocess.run(["git", "init", "--quiet", "--bare", str(self.origin)], check=True)

    def artifacts(self, run_id: str) -> Path:
        """Where the artifacts of a run lie, by name."""
        return self.folder / "artifacts" / run_id

    def data(self) -> Path:
        """The data branch, laid out anew."""
        target = self.folder / f"data-{len(list(self.folder.glob('data-*')))}"
        command = ["git", "clone", "--quiet", "--branch", "data", self.origin.as_uri(), str(target)]
        subprocess.run(command, check=True, capture_output=True)
        return target

    def play(
        self, workflow: Path, run_id: str, attempt: int = 1, inputs: Mapping[str, object] | None = None,
        trouble: Mapping[str, Trouble] | None = None, only: Collection[str] = (),
    ) -> Attempt:  # fmt: skip
        """Play all jobs in order, or `only` some.

        `trouble` befalls the step that runs cells, by the displayed name of its job.
        """
        self._plays += 1
        document = _read(workflow)
        context = {
            "github": {
                "run_id": run_id,
                "run_attempt": attempt,
                "token": "job-token",
                "event_name": "schedule",
                "ref_name": "main",
                "event": {"repository": {"default_branch": "main"}},
            },
            "inputs": dict(inputs or {}),
            "vars": {},
            "secrets": self.secrets,
            "runner": {"environment": "self-hosted"},  # so that nothing here is cleared away for room
        }
        place = self.folder / f"play-{self._plays}"
        with serving(self.github) as api_url:
            return self._play(_Play(document, _with_env(document, context), place, api_url, trouble or {}, only))

    def _play(self, play: _Play) -> Attempt:
        played = Attempt()
        needs: dict[str, dict[str, Any]] = {}
        for key, job in play.document["jobs"].items():
            if play.only and key not in play.only:
                continue
            wanted = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            context = play.context | {"needs": {name: needs[name] for name in wanted}}
            good = all(needs[name]["result"] == "success" for name in wanted)
            jobs: list[Job] = []
            if holds(job.get("if"), context | _status(good)):
                for number, matrix in enumerate(_matrix(job, context)):
                    jobs += self._jobs(play, job, context | {"matrix": matrix}, play.place / f"{key}-{number}")
            played.jobs |= {one.name: one for one in jobs}
            needs[key] = {"result": _together(jobs), "outputs": jobs[-1].outputs if jobs else {}}
        return played

    def _jobs(self, play: _Play, job: Mapping[str, Any], context: dict[str, Any], place: Path) -> list[Job]:
        """What came of one job: of a called workflow those of that, which knows nothing but its inputs."""
        if "uses" not in job:
            return [_Playing(self, play.document, job, context, place, play.api_url).play(play.trouble)]
        given = {name: rendered(value, context) for name, value in job["with"].items()}
        inner = context | {"inputs": given, "secrets": {}, "needs": {}}
        document = _read(ROOT / job["uses"])
        called = _Play(document, _with_env(document, inner), place, play.api_url, play.trouble, ())
        return list(self._play(called).jobs.values())


@dataclass
class _Play:
    """One workflow that is being played."""

    document: Mapping[str, Any]
    context: dict[str, Any]
    place: Path
    api_url: str
    trouble: Mapping[str, Trouble]
    only: Collection[str]


def _read(workflow: Path) -> Mapping[str, Any]:
    return dict(YAML(typ="safe").load(workflow.read_text()))


def _with_env(document: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """What stands under `env` of a workflow is known to its expressions; a called workflow has its own alone."""
    return {**context, "env": {name: rendered(text, context) for name, text in document.get("env", {}).items()}}


def _status(good: bool, cancelled: bool = False) -> dict[str, Callable[[], bool]]:
    return {
        "always": lambda: True,
        "success": lambda: good and not cancelled,
        "failure": lambda: not good,
        "cancelled": lambda: cancelled,
    }


def _matrix(job: Mapping[str, Any], context: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "strategy" not in job:
        return [{}]
    include = rendered(job["strategy"]["matrix"], context)["include"]
    assert include, "GitHub refuses a matrix without a job"
    assert len(include) <= 256
    return list(include)


def _together(jobs: list[Job]) -> str:
    results = {job.result for job in jobs}
    return next((r for r in ("failure", "cancelled", "success") if r in results), "skipped")


class _Playing:
    """One job on its runner."""

    def __init__(
        self, stage: Stage, document: Mapping[str, Any], job: Mapping[str, Any], context: dict[str, Any],
        place: Path, api_url: str,
    ) -> None:  # fmt: skip
        self.stage, self.document, self.job, self.context = stage, document, job, context
        self.workspace = place / "workspace"
        self.workspace.mkdir(parents=True)
        self.temporary = place
        self.steps: dict[str, Any] = {}
        self.good = True
        github = context["github"]
        self.base = {
            **stage.environment,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_RUN_ID": github["run_id"],
            "GITHUB_RUN_ATTEMPT": str(github["run_attempt"]),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SERVER_URL": (stage.folder / "origin").as_uri(),
            "GITHUB_API_URL": api_url,
            "GITHUB_STEP_SUMMARY": str(place / "summary.md"),
        }
        self.done = Job(name=rendered(job.get("name"), context))

    def play(self, trouble: Mapping[str, Trouble]) -> Job:
        """All steps, as far as they are to run; the order of their ends is the log."""
        befalls = trouble.get(self.done.name)
        try:
            for step in self.job["steps"]:
                self._step(step, self._everything(), befalls)
        except Lost:
            self.good = False
        self.done.result = "success" if self.good else "failure"
        outputs = {name: rendered(text, self._everything()) for name, text in self.job.get("outputs", {}).items()}
        self.done.outputs = {name: as_text(value) for name, value in outputs.items()}
        summary = self.temporary / "summary.md"
        self.done.summary = summary.read_text() if summary.exists() else ""
        return self.done

    def _everything(self) -> dict[str, Any]:
        return {**self.context, "steps": self.steps, **_status(self.good)}

    def _step(self, step: Mapping[str, Any], context: dict[str, Any], befalls: Trouble | None) -> None:
        if not holds(step.get("if"), context | _status(self.good)):
            return
        given = {name: rendered(value, context) for name, value in step.get("with", {}).items()}
        try:
            if "run" in step:
                self._run(step, context, befalls)
            else:
                self._use(step["uses"], given, context)
        except (subprocess.CalledProcessError, FileNotFoundError, FileExistsError) as error:
            self.done.log += f"\n{step.get('name', step.get('uses'))}: {error}\n"
            self.good = False

    def _run(self, step: Mapping[str, Any], context: Mapping[str, Any], befalls: Trouble | None) -> None:
        output = self.temporary / f"output-{len(list(self.temporary.glob('output-*')))}"
        output.touch()
        levels = (self.document.get("env", {}), self.job.get("env", {}), step.get("env", {}))
        added = {k: as_text(rendered(v, context)) for level in levels for k, v in level.items()}
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace, env={**self.base, **added, "GITHUB_OUTPUT": str(output)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        watching = threading.Timer(STEP_DEADLINE_S, process.kill)
        watching.start()
        lost: list[Lost] = []
        if befalls is not None and "readiness run" in step["run"]:
            threading.Thread(target=_befall, args=(befalls, process, lost), daemon=True).start()
        said = process.communicate()[0]
        watching.cancel()
        self.done.log += said
        if lost:
            raise lost[0]
        if "id" in step:
            lines = output.read_text().splitlines()
            self.steps[step["id"]] = {"outputs": dict(line.split("=", 1) for line in lines)}
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, step["run"])

    def _use(self, action: str, given: dict[str, Any], context: Mapping[str, Any]) -> None:
        if action.startswith("./"):
            inputs = {key: as_text(value) for key, value in given.items()}  # an action's inputs are strings
            inner = YAML(typ="safe").load((ROOT / action[2:] / "action.yml").read_text())
            for step in inner["runs"]["steps"]:
                self._step(step, {**context, "inputs": inputs}, None)
            return
        name = action.partition("@")[0]
        stand_in = getattr(self, "_" + name.partition("/")[2].replace("-", "_"))
        stand_in(**{key.replace("-", "_"): value for key, value in given.items()})

    def _checkout(self, *, persist_credentials: bool) -> None:
        assert persist_credentials is False
        listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.workspace / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.workspace / name)
        for name, text in self.stage.added.items():
            (self.workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (self.workspace / name).write_text(text)
        (self.workspace / ".venv").symlink_to(ROOT / ".venv")  # in the place of a minute of installing
        (self.workspace / ".git" / "info").mkdir(parents=True)
        (self.workspace / ".git" / "info" / "exclude").write_text("/.venv\n")
        for arguments in (
            ["init", "--quiet", "--initial-branch=main"],
            ["add", "--all"],
            ["commit", "--quiet", "--message", "As it is"],
        ):
            subprocess.run(["git", *AS_A_PERSON, *arguments], cwd=self.workspace, check=True)

    def _setup_python(self, *, python_version: str) -> None:
        assert python_version == "3.11"

    def _upload_artifact(
        self,
        *,
        name: str,
        path: str,
        if_no_files_found: str = "warn",
        retention_days: int = 90,
        overwrite: bool = False,
    ) -> None:
        target = self._artifacts / name
        if overwrite:
            shutil.rmtree(target, ignore_errors=True)
        if target.exists():
            raise FileExistsError(f"an artifact {name} exists already")
        patterns = path.split()
        roots = {Path(re.split(r"[*?\[]", pattern)[0]) for pattern in patterns}
        root = self.workspace / (os.path.commonpath(roots) if roots else ".")
        files = [file for pattern in patterns for file in self._matching(pattern)]
        if not files:
            self.done.log += f"no files for the artifact {name}\n"
            if if_no_files_found == "error":
                raise FileNotFoundError(f"no files for the artifact {name}")
            return
        for file in files:
            kept = target / file.relative_to(root)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)  # neither modes nor times survive

    def _matching(self, pattern: str) -> list[Path]:
        """Files that a path or a pattern of the action names; hidden ones are left out."""
        found = self.workspace.glob(pattern) if "*" in pattern else [self.workspace / pattern]
        every = {file for one in found for file in ([one] if one.is_file() else one.rglob("*")) if file.is_file()}
        names = {file: file.relative_to(self.workspace).parts for file in every}
        return sorted(file for file in every if not any(part.startswith(".") for part in names[file]))

    def _download_artifact(self, *, pattern: str, path: str, merge_multiple: bool) -> None:
        assert merge_multiple
        folders = sorted(self._artifacts.iterdir()) if self._artifacts.exists() else []
        for folder in folders:
            if fnmatch.fnmatchcase(folder.name, pattern):
                shutil.copytree(folder, self.workspace / path, dirs_exist_ok=True)

    def _upload_pages_artifact(self, *, name: str, path: str) -> None:
        self._upload_artifact(name=name, path=path, if_no_files_found="error")

    def _deploy_pages(self, *, artifact_name: str) -> None:
        if not (self._artifacts / artifact_name).is_dir():
            raise FileNotFoundError(f"no artifact {artifact_name}")
        self.stage.published = self._artifacts / artifact_name

    @property
    def _artifacts(self) -> Path:
        return self.stage.artifacts(self.context["github"]["run_id"])


def _befall(befalls: Trouble, process: subprocess.Popen[str], lost: list[Lost]) -> None:
    try:
        befalls(process)
    except Lost as error:
        lost.append(error)
        os.killpg(process.pid, signal.SIGKILL)


def cancelled(process: subprocess.Popen[str]) -> None:
    """What a runner does to the step that runs when its run is cancelled."""
    for number, patience_s in ((signal.SIGINT, SIGINT_PATIENCE_S), (signal.SIGTERM, SIGTERM_PATIENCE_S)):
        process.send_signal(number)
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if process.poll() is not None:
                return
            time.sleep(0.1)  # polls for the step's end; bounded by `end`
    process.kill()


__all__ = ["Attempt", "Job", "Lost", "Stage", "cancelled", "evaluate"]
