"""`readiness bugs`: drafts, what would be done, and what is done in our own tracker."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from commands.reproducing import digest
from matrix.reproduction import Reproduction
from matrix.results import Result, Status, read_json, write_json, write_result
from reports.bugs.signature import failure_id
from tests.conftest import ROOT
from tests.github.bench import Bench, benches
from tests.github.server import REPOSITORY, Trouble
from tests.reports.samples import result

TOKEN = "job-token"
PROGRAM = "print('expected 1, seen 2')\nraise SystemExit(1)\n"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with benches() as made:
        yield made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two runs that show the same crash, and one failure seen once."""
    crash = result("loading", Status.CRASH, reason="RuntimeError: boom; says @everyone, fixes #1")
    again = result("loading", Status.CRASH, reason=crash.verdict.reason, minute=5)
    for number, one in enumerate([crash, again, result("protocol", Status.FAIL, reason="stop words stay", minute=9)]):
        run = f"run-{number}"
        write_result(tmp_path / "results" / run, replace(one, provenance=replace(one.provenance, run_id=run)))
    shown(tmp_path, failure_id(crash), crash)
    return tmp_path / "results"


def shown(folder: Path, name: str, one: Result) -> None:
    """A repro that a person has written, and that was executed and has shown the failure."""
    (folder / "repros").mkdir()
    (folder / "repros" / f"{name}.py").write_text(PROGRAM)
    found = Reproduction(
        name=name, release_id=one.cell.release.id, build="official", build_note="", outcome="shown", exit_code=1,
        output="expected 1, seen 2", program_sha256=digest(PROGRAM), launcher="venv", requirements_sha256=None,
        image_digest=None, machine="2 cores", environment_report=None, ran_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    )  # fmt: skip
    write_json(folder / "results" / "reproductions" / f"{name}.json", found)


def bugs(bench: Bench, results: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    environment = {**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "250", "GITHUB_API_URL": bench.address, **variables}
    return subprocess.run(
        [sys.executable, "-m", "readiness", "bugs", "--results", str(results), *arguments],
        cwd=results.parent, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_by_default_nothing_is_sent_and_it_says_what_would_be_done(bench: Bench, results: Path) -> None:
    """Drafts lie in a folder; with --repo the tracker is read for it, without any token."""
    done = bugs(bench, results, GITHUB_TOKEN=TOKEN, GITHUB_REPOSITORY=REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")
    program, draft = sorted((results.parent / "drafts").iterdir(), key=lambda path: path.suffix, reverse=True)
    assert program.read_text() == PROGRAM and f"```python\n{PROGRAM.strip()}\n```" in draft.read_text()
    assert f"{draft.stem}: drafted: alpha-1.0__small__cpu__default\n" in done.stdout
    assert "seen once, waits for a second run: alpha-1.0__small__cpu__default\n" in done.stdout
    assert done.stdout.endswith(f"would be opened: {draft.stem}\n")
    assert bench.hub.asked == []
    assert f"would be opened: {draft.stem}\n" in bugs(bench, results, "--repo", REPOSITORY).stdout
    assert bench.hub.asked and bench.hub.writes == []


def test_with_file_the_tracker_is_brought_up_to_date_and_the_token_is_told_to_nobody(
    bench: Bench, results: Path
) -> None:
    """One issue, whose words reach nobody; a second run finds nothing to do."""
    summary = results.parent / "summary.md"
    arguments = ("--file", "--night", "n1", "--summary", str(summary))
    done = bugs(bench, results, *arguments, GITHUB_TOKEN=TOKEN, GITHUB_REPOSITORY=REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nopened: alpha-loading-" in done.stdout
    (issue,) = bench.hub.seen().values()
    assert "says @everyone, fixes #1\n```" in issue["body"]  # in a fence
    again = bugs(bench, results, *arguments, GITHUB_TOKEN=TOKEN, GITHUB_REPOSITORY=REPOSITORY)
    assert "\nopened:" not in again.stdout and len(bench.hub.issues) == 1
    assert "- opened: alpha-loading-" in summary.read_text() and "- Nothing to do." in summary.read_text()
    assert TOKEN not in done.stdout + done.stderr + summary.read_text() + str(bench.hub.seen())


def test_what_github_does_not_do_is_status_3_and_a_sentence(bench: Bench, results: Path) -> None:
    """The drafts are there all the same."""
    refused = Trouble(status=403, message="Resource not accessible by integration")
    with bench.befalling(lambda number, method, path: refused if method == "POST" else None):
        done = bugs(bench, results, "--file", "--repo", REPOSITORY, GITHUB_TOKEN=TOKEN)
    assert done.returncode == 3
    assert "GitHub answers 403: Resource not accessible by integration; all that follows is left" in done.stderr
    assert len(list((results.parent / "drafts").glob("*.md"))) == 1
    wrong = bugs(bench, results, "--file", "--repo", REPOSITORY, GITHUB_TOKEN="another")
    assert (wrong.returncode, wrong.stderr) == (3, "readiness: GitHub answers 401: Bad credentials\n")


def test_a_repository_without_issues_is_no_trouble(bench: Bench, results: Path) -> None:
    """As a fork is at first."""
    bench.hub.issues_on = False
    done = bugs(bench, results, "--file", "--repo", REPOSITORY, GITHUB_TOKEN=TOKEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"{REPOSITORY} has its issues switched off: nothing is filed\n")


@pytest.mark.parametrize("how", ["no repro", "another repro", "it shows nothing"])
def test_what_its_own_repro_has_not_shown_is_drafted_and_not_filed(bench: Bench, results: Path, how: str) -> None:
    """And it is said why."""
    (program,) = (results.parent / "repros").iterdir()
    (execution,) = (results / "reproductions").iterdir()
    match how:
        case "no repro":
            program.unlink()
        case "another repro":
            program.write_text("print(2)\n")
        case _:
            known = read_json(execution, Reproduction)
            write_json(execution, replace(known, outcome="gone", exit_code=0))
    why = {
        "no repro": "no standalone repro of it could be made",
        "another repro": "its repro has not been executed yet",
        "it shows nothing": "its repro does not show it",
    }[how]
    summary = results.parent / "summary.md"
    arguments = ("--file", "--repo", REPOSITORY, "--summary", str(summary))
    done = bugs(bench, results, *arguments, GITHUB_TOKEN=TOKEN)
    assert done.returncode == 0 and bench.hub.issues == {}
    (draft,) = (results.parent / "drafts").glob("*.md")
    assert f"{draft.stem}: {why}: alpha-1.0__small__cpu__default\n" in done.stdout
    assert f"| `{draft.stem}` | {why} |" in summary.read_text()


def test_an_execution_that_nobody_can_read_is_named(bench: Bench, results: Path) -> None:
    """It counts as none."""
    (execution,) = (results / "reproductions").iterdir()
    execution.write_text("{}")
    done = bugs(bench, results)
    assert f"{execution.name}: not a readable Reproduction" in done.stderr
    assert "its repro has not been executed yet" in done.stdout
