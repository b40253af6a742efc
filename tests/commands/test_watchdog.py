"""`readiness watchdog` as a whole process, over a folder of results and pages of a server of our own."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from matrix.plan import NIGHT_ENDING, Night
from matrix.results import Status, write_json
from tests.reports.samples import of_night, result

PLANNED = dt.datetime(2026, 1, 2, 2, 17, tzinfo=dt.UTC)
FRESH, LATE = "2026-01-02T20:00:00Z", "2026-01-03T06:06:00+01:00"
"""17 hours after the last result of the night, and 26 hours and 6 minutes."""


def write(results: Path, *statuses: Status, name: str = "1001", profile: str = "nightly") -> None:
    """A night of one cell, with a result for each status."""
    made = [result(f"probe-{number}", status) for number, status in enumerate(statuses)]
    cells = (result().cell_id,)
    record = Night(night=name, planned_at=PLANNED, profile=profile, cells=cells, left_out={})
    write_json(results / f"{name}{NIGHT_ENDING}", record)
    for one in made:
        kept = msgspec.structs.replace(one, provenance=of_night(one, name))
        write_json(results / one.provenance.run_id / one.cell_id / f"{one.probe}.result.json", kept)


def watchdog(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "readiness", "watchdog", "--summary", "summary.md", *arguments]
    environment = {**os.environ, "GITHUB_TOKEN": "secret", "COLUMNS": "250"}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60)


@contextmanager
def github(status: int = 200, grid: bytes = b"", *, on: bool = True) -> Iterator[str]:
    """GitHub's API, which knows of a page where one is on, and that page with its grid.json; the API's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/repos/lab/readiness/pages":
                assert self.headers["Authorization"] == "Bearer secret"
                self._answer(200 if on else 404, json.dumps({"html_url": f"{address}/page"}).encode())
            else:
                self._answer(status, grid if self.path == "/page/grid.json" else b"<!doctype html>")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


def test_a_night_that_is_young_and_decided_is_told_and_well(tmp_path: Path) -> None:
    """What was seen stands on standard output and on the page of the job."""
    write(tmp_path / "results", Status.PASS, Status.ERROR)
    done = watchdog(tmp_path, "--now", FRESH)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nightly: night 1001: 1 of 1 cells decided" in done.stdout
    assert (tmp_path / "summary.md").read_text().count("🟢") == 2


@pytest.mark.parametrize(
    ("status", "now", "said"),
    [
        (Status.PASS, LATE, "last heard of 26.1 hours ago; 26.0 hours is the limit"),
        (Status.ERROR, FRESH, "0 of 1 cells decided; fewer than half"),
    ],
)
def test_what_is_wrong_is_said_on_standard_error_with_status_1(
    tmp_path: Path, status: Status, now: str, said: str
) -> None:
    """And on the page of the job."""
    write(tmp_path / "results", status)
    done = watchdog(tmp_path, "--now", now)
    assert done.returncode == 1
    assert said in done.stderr
    assert "🔴" in (tmp_path / "summary.md").read_text()


def test_each_profile_has_nights_of_its_own(tmp_path: Path) -> None:
    """One that never came is missed though another one did."""
    write(tmp_path / "results", Status.PASS, name="microscope-7", profile="microscope")
    done = watchdog(tmp_path, "--now", FRESH, "--profile", "nightly", "--profile", "microscope")
    assert done.returncode == 1
    assert done.stderr == "nightly: there is no night at all\n"
    assert "microscope: night microscope-7: 1 of 1 cells decided" in done.stdout


def test_a_night_whose_record_cannot_be_read_is_named(tmp_path: Path) -> None:
    """It is not taken for one that never was."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / f"1001{NIGHT_ENDING}").write_text("{")
    done = watchdog(tmp_path, "--now", FRESH)
    assert done.returncode == 1
    assert f"1001{NIGHT_ENDING}" in done.stderr


@pytest.mark.parametrize(
    ("status", "grid", "code", "said"),
    [
        (200, {"made_at": "2026-01-02T05:00:00Z", "more": 1}, 0, "was made 15.0 hours ago"),
        (200, {"made_at": "2026-01-01T05:00:00Z"}, 1, "was made 39.0 hours ago"),
        (200, {"made_at": "2026-01-02T05:00:00"}, 1, "does not say when it was made: Expected `datetime` with a time"),
        (200, {"squares": []}, 1, "does not say when it was made: Object missing required field `made_at`"),
        (500, {}, 1, "does not answer: HTTP status 500"),
        (404, {}, 1, "does not answer: HTTP status 404"),
    ],
)
def test_the_page_is_asked_when_it_was_made(
    tmp_path: Path, status: int, grid: dict[str, object], code: int, said: str
) -> None:
    """At the address that GitHub gives of it."""
    write(tmp_path / "results", Status.PASS)
    with github(status, json.dumps(grid).encode()) as api:
        done = watchdog(tmp_path, "--now", FRESH, "--repo", "lab/readiness", "--api", api)
    assert done.returncode == code, done.stderr
    assert f"the page {api}/page/ {said}" in (done.stderr if code else done.stdout)


def test_a_page_that_is_off_is_said_and_no_fault(tmp_path: Path) -> None:
    """As in a fork at first."""
    write(tmp_path / "results", Status.PASS)
    with github(on=False) as api:
        done = watchdog(tmp_path, "--now", FRESH, "--repo", "lab/readiness", "--api", api)
    assert done.returncode == 0, done.stderr
    assert f"the page is off: {api}/repos/lab/readiness/pages answers 404" in done.stdout


def test_a_github_that_does_not_answer_leaves_the_page_unknown_and_that_is_wrong(tmp_path: Path) -> None:
    """Nothing is silently green."""
    write(tmp_path / "results", Status.PASS)
    with github() as api:
        pass
    done = watchdog(tmp_path, "--now", FRESH, "--repo", "lab/readiness", "--api", api)
    assert done.returncode == 1
    assert f"the page {api}/repos/lab/readiness/pages does not answer: " in done.stderr


@pytest.mark.parametrize("now", ["yesterday", "2026-01-02T20:00:00"])
def test_a_moment_needs_its_time_zone(tmp_path: Path, now: str) -> None:
    """Else a night would be hours older on one machine than on another."""
    done = watchdog(tmp_path, "--now", now)
    assert done.returncode == 2
    assert "is no moment such as" in " ".join(done.stderr.replace("│", " ").split())
