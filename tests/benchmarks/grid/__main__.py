"""The index, the whole site and a night more, from a million generated results; writes docs/grid.md.

Each is measured in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from matrix.cells import Record
from matrix.results import write_bytes
from probes.provenance import machine
from reports import store
from reports.markdown import row
from reports.site import build, cells, pages
from reports.site.gather import Gathered, gather
from reports.site.rendering import environment
from tests.benchmarks.grid import generated

PAGE = Path(__file__).parents[3] / "docs" / "grid.md"

NOW = dt.datetime.combine(generated.FIRST + dt.timedelta(days=generated.NIGHTS), dt.time(6), tzinfo=dt.UTC)


class Goal(Record, frozen=True, kw_only=True):
    """What was wanted and what was measured."""

    name: str
    wanted: str
    found: str
    met: bool


class Took(Record, frozen=True, kw_only=True):
    """What one process took."""

    seconds: float
    peak_gb: float


def index(folder: Path, site: Path) -> None:
    """The first page and all JSON."""
    with store.opened(folder) as found:
        shown = gather(found, made_at=NOW)
        made = environment(shown)
        for path, content in [*pages.front(shown, made), *_json_of_cells(shown)]:
            write_bytes(site / path, content)


def _json_of_cells(shown: Gathered) -> list[tuple[str, bytes]]:
    every = cells.every_cell(shown, environment(shown))
    return [(path, content) for path, content in every if path.endswith(".json")]


def whole(folder: Path, site: Path) -> None:
    """Every page and file."""
    with store.opened(folder) as found:
        build.write(gather(found, made_at=NOW), found, site)


PARTS: dict[str, Callable[[Path, Path], None]] = {"index": index, "whole": whole}


def took(part: str, folder: Path, site: Path) -> Took:
    """Run a part in a process of its own."""
    command = (sys.executable, "-m", "tests.benchmarks.grid", part, str(folder), str(site))
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800).stdout
    return Took(**json.loads(printed.splitlines()[-1]))


def child(part: str, folder: Path, site: Path) -> None:
    """What such a process does."""
    began = time.perf_counter()
    PARTS[part](folder, site)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": time.perf_counter() - began, "peak_gb": peak * 1024 / 1e9}))


def main() -> None:
    """Measure everything and write the page."""
    with tempfile.TemporaryDirectory(prefix="readiness-grid-") as scratch:
        folder, site = Path(scratch) / "results", Path(scratch) / "site"
        generated.archive(folder)
        generated.night(folder, 0)
        damage(folder)
        with store.opened(folder) as found:
            ((counted,),) = [tuple(one.values()) for one in found.query("SELECT count(*) AS n FROM results")]
            problems = len(found.problems)
        first, every = took("index", folder, site), took("whole", folder, site)
        packed = len(gzip.compress((site / "index.html").read_bytes(), mtime=0))
        generated.night(folder, 1)
        more = took("whole", folder, site)
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    goals = [
        Goal(
            name="index and all JSON",
            wanted="10 s, 1 GB",
            found=_said(first),
            met=first.seconds <= 10 and first.peak_gb <= 1,
        ),
        Goal(name="whole site", wanted="60 s", found=_said(every), met=every.seconds <= 60),
        Goal(name="a night more", wanted="5 s", found=_said(more), met=more.seconds <= 5),
        Goal(name="index page, gzipped", wanted="300 kB", found=f"{packed / 1e3:.0f} kB", met=packed <= 300_000),
    ]
    write_bytes(PAGE, page(goals, counted, problems, size).encode())
    print(PAGE)


def damage(folder: Path) -> None:
    """Files as a bad night leaves them: half a result, and a Parquet file that is none."""
    half = next(folder.glob("*/*/loading.result.json"))
    half.write_bytes(half.read_bytes()[:200])
    (folder / "archive" / "results" / "month=2026-01" / "half.parquet").write_bytes(b"PAR1")


def _said(one: Took) -> str:
    return f"{one.seconds:.1f} s, {one.peak_gb:.2f} GB"


def page(goals: list[Goal], results: int, problems: int, size: int) -> str:
    """docs/grid.md."""
    lines = [
        "# What the site costs", "",
        f"Written by `make bench-grid` on {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}. Do not edit.", "",
        f"A generated history of {results:,} results: {generated.MODELS} models on {generated.ENGINES} engines, "
        f"{len(generated.PROBES)} probes, {generated.NIGHTS} nights with gaps and failures; all but the last night are "
        f"Parquet files. {problems} files are damaged, and said to be on the first page. "
        f"The site has {size / 1e6:.0f} MB.", "",
        row(["goal", "wanted", "found", ""]), row(["---"] * 4),
        *(row([one.name, f"at most {one.wanted}", one.found, "met" if one.met else "**missed**"]) for one in goals), "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
