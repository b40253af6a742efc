"""What the project costs on a new machine: `make bench-costs` measures every promise and writes docs/budgets.md.

A fresh clone of HEAD with empty caches (environments, models, pip's and uv's downloads) runs `make setup`, then
`.ci/run` (lint, the first `make grid`, every test), then a second `make grid`. Takes about an hour. What Debian's
packages bring is installed by `.ci/run` where it is missing, and is not removed before.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from matrix.cells import Record
from matrix.results import write_bytes
from probes.provenance import machine
from reports.cost import Cost, sentence
from reports.runs import read

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90 * 60
PHASE = re.compile(r"^== (?P<name>.+) \(after (?P<seconds>\d+) s\)$")


class Measured(Record, frozen=True, kw_only=True):
    """Everything that the document says."""

    commit: str
    browser_was_there: bool
    """Chromium was installed before, so `.ci/run` had not to."""
    setup_s: float
    ci_s: float
    phases: tuple[tuple[str, int], ...]
    """Of `.ci/run`: what began, and after how many seconds."""
    test_summaries: tuple[str, ...]
    """The last line of each pytest of `make test`."""
    first: Cost
    second: Cost


def main() -> None:
    """Measure in a temporary folder, kept where a command failed, and write the document."""
    folder = Path(tempfile.mkdtemp(prefix="readiness-costs-"))
    print(f"measuring in {folder}", flush=True)
    measured = measure(folder)
    shutil.rmtree(folder)
    write_bytes(ROOT / "docs" / "budgets.md", document(measured, dt.datetime.now(dt.UTC)).encode())


def measure(folder: Path) -> Measured:
    """Run everything once in `folder`; raises CalledProcessError where a command fails."""
    clone = folder / "clone"
    caches = {name: str(folder / name.lower()) for name in ("READINESS_CACHE", "UV_CACHE_DIR", "PIP_CACHE_DIR")}
    environment = {**os.environ, **caches}
    browser_was_there = shutil.which("chromium") is not None
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=DEADLINE_S)
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=clone, text=True).strip()
    setup_s, _ = timed(["make", "setup"], clone, environment)
    ci_s, printed = timed(["bash", ".ci/run"], clone, environment)
    timed(["make", "grid"], clone, environment)
    runs = read(clone / "results").runs  # between these two, .ci/run runs the same cells in containers
    first, second = runs[0].cost, runs[-1].cost
    assert first is not None and second is not None
    return Measured(
        commit=commit,
        browser_was_there=browser_was_there,
        setup_s=setup_s,
        ci_s=ci_s,
        phases=tuple((m["name"], int(m["seconds"])) for m in map(PHASE.match, printed) if m),
        test_summaries=tuple(line.strip("= ") for line in printed if re.search(r"\d+ passed", line))[-2:],
        first=first,
        second=second,
    )


def timed(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[float, list[str]]:
    """Run a command, show what it prints, and return its seconds and its lines."""
    started = time.monotonic()
    lines = []
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line.rstrip("\n"))
        code = process.wait(DEADLINE_S)
    finally:
        process.terminate()
        process.wait()
    if code != 0:
        raise subprocess.CalledProcessError(code, command)
    return time.monotonic() - started, lines


def document(measured: Measured, made_at: dt.datetime) -> str:
    """The promises beside what was measured, as Markdown."""
    harness_s = max(measured.first.harness_s_per_cell, measured.second.harness_s_per_cell)
    rows = (
        ("first `make grid`, compiling llama-cpp-python included", measured.first.total_s, 30 * 60.0),
        ("second `make grid`, environments and reference cached", measured.second.total_s, 8 * 60.0),
        ("the harness's own share of a cell", harness_s, 5.0),
        ("`make setup`: the harness's own environment, without torch", measured.setup_s, 60.0),
        ("`.ci/run`", measured.ci_s, 60 * 60.0),
    )
    phases = "\n".join(f"| {name} | {seconds} |" for name, seconds in measured.phases)
    return f"""# What a run costs

Made by `make bench-costs` on {made_at:%Y-%m-%d} at commit {measured.commit}: a fresh clone with empty caches, downloads
included; Chromium was {"installed before" if measured.browser_was_there else "installed by `.ci/run`"}. Not written by
hand. Machine: {machine()}.

| promise | at most | measured | met |
| --- | ---: | ---: | --- |
{chr(10).join(f"| {what} | {limit:.0f} s | {_seconds(spent)} | {_met(spent, limit)} |" for what, spent, limit in rows)}

First `make grid`: {sentence(measured.first)}.

Second `make grid`: {sentence(measured.second)}.

`make test` with everything required ended with {" and ".join(f"`{one}`" for one in measured.test_summaries)}.

| phase of `.ci/run` | begins after, s |
| --- | ---: |
{phases}

Timings on few shared cores are noisy; speeds are compared within one run only.
"""


def _seconds(spent: float) -> str:
    return f"{spent:.1f} s" if spent < 10 else f"{spent:.0f} s"


def _met(spent: float, limit: float) -> str:
    return "yes" if spent <= limit else "no"


if __name__ == "__main__":
    main()
