"""`readiness bugs`: drafts, what would be done, and what is done in our own tracker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from matrix.results import Status, write_result
from tests.conftest import ROOT
from tests.github.bench import Bench, benches
from tests.github.server import REPOSITORY, Trouble
from tests.reports.samples import result

TOKEN = "job-token"


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
    return tmp_path / "results"


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
    (draft,) = (results.parent / "drafts").iterdir()
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
    assert len(list((results.parent / "drafts").iterdir())) == 1
    wrong = bugs(bench, results, "--file", "--repo", REPOSITORY, GITHUB_TOKEN="another")
    assert (wrong.returncode, wrong.stderr) == (3, "readiness: GitHub answers 401: Bad credentials\n")


def test_a_repository_without_issues_is_no_trouble(bench: Bench, results: Path) -> None:
    """As a fork is at first."""
    bench.hub.issues_on = False
    done = bugs(bench, results, "--file", "--repo", REPOSITORY, GITHUB_TOKEN=TOKEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"{REPOSITORY} has its issues switched off: nothing is filed\n")
