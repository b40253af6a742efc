"""The reports that others make of the same results: Allure, which CI systems know, and a page of JUnit."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from matrix.cells import Record
from matrix.results import Result, Status, write_bytes
from reports import junit
from runners import environments
from tests.benchmarks.grid.taking import Took, size_mb, took

HERE = Path(__file__).parent
WEB = HERE / "web"

ALLURE_STATUS = {Status.PASS: "passed", Status.ERROR: "broken", Status.CRASH: "broken", Status.FAIL: "failed"}
"""What is not here is skipped."""


class Beside(Record, frozen=True, kw_only=True):
    """What one tool takes for the same results, and what it makes of them."""

    tool: str
    took: Took
    site_mb: float


def allure(results: Sequence[Result], scratch: Path) -> Beside:
    """`allure generate` by the lock file's version."""
    if not (WEB / "node_modules" / ".package-lock.json").is_file():
        subprocess.run(("npm", "ci", "--ignore-scripts"), cwd=WEB, check=True, capture_output=True, timeout=600)
    given, made = scratch / "allure-results", scratch / "allure"
    for result in results:
        write_bytes(given / f"{uuid.uuid4()}-result.json", msgspec.json.encode(_allure(result)))
    program = WEB / "node_modules" / ".bin" / "allure"
    found = took((str(program), "generate", str(given), "--output", str(made)), cwd=scratch)
    return Beside(tool="allure generate", took=found, site_mb=size_mb(made))


def _allure(result: Result) -> dict[str, object]:
    """A result in Allure's own format."""
    verdict, began = result.verdict, int(result.provenance.started_at.timestamp() * 1000)
    labels = {"suite": result.cell_id, "parentSuite": result.cell.release.engine, "subSuite": result.cell.model.id}
    return {
        "uuid": str(uuid.uuid4()),
        "historyId": f"{result.cell_id}/{result.probe}",
        "fullName": f"{result.cell_id}/{result.probe}",
        "name": result.probe,
        "status": ALLURE_STATUS.get(verdict.status, "skipped"),
        "statusDetails": {"message": verdict.reason},
        "start": began,
        "stop": began + int(result.provenance.seconds * 1000),
        "labels": [{"name": name, "value": value} for name, value in labels.items()],
        "parameters": [{"name": name, "value": f"{value:.6g}"} for name, value in verdict.numbers.items()],
    }


def junit2html(results: Sequence[Result], scratch: Path) -> Beside:
    """One page of one JUnit file, which this project writes."""
    home = environments.build("junit2html", HERE / "requirements" / "junit2html.txt").folder
    given, made = scratch / "junit.xml", scratch / "junit2html" / "index.html"
    write_bytes(given, junit.render(results).encode())
    made.parent.mkdir()
    found = took((str(home / "bin" / "junit2html"), str(given), str(made)))
    return Beside(tool="junit2html", took=found, site_mb=size_mb(made.parent))
