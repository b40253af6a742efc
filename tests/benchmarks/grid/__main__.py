"""The index, the whole site and a night more, from a million generated results; writes docs/grid.md.

Each is measured in a process of its own, from its start to its end.
"""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

from matrix.results import write_bytes
from reports import store
from tests.benchmarks.grid import generated, others, parts
from tests.benchmarks.grid.loading import loading
from tests.benchmarks.grid.others import Beside
from tests.benchmarks.grid.page import Measured, page
from tests.benchmarks.grid.taking import size_mb, took

PAGE = Path(__file__).parents[3] / "docs" / "grid.md"


def main() -> None:
    """Measure everything and write the page."""
    with tempfile.TemporaryDirectory(prefix="readiness-grid-") as scratch:
        measured = measure(Path(scratch))
    write_bytes(PAGE, page(measured).encode())
    print(PAGE)


def measure(scratch: Path) -> Measured:
    """A history, its site, a night more, and the newest night by other tools."""
    folder, site = scratch / "results", scratch / "site"
    generated.archive(folder)
    generated.night(folder, 0)
    damage(folder)
    with store.opened(folder) as found:
        (counted,) = found.query("SELECT count(*) AS results FROM results")
        problems = len(found.problems)
    first = took(parts.command("index", folder, scratch / "index"))
    whole = took(parts.command("whole", folder, site))
    pages = sum(1 for path in site.rglob("*.html"))
    shown = loading(site)
    packed = len(gzip.compress((site / "index.html").read_bytes(), mtime=0))
    generated.night(folder, 1)
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    more = took(parts.command("whole", folder, site))
    return Measured(
        results=counted["results"],
        problems=problems,
        index=first,
        whole=whole,
        more=more,
        written=sum(before.get(path) != path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()),
        files=sum(1 for path in site.rglob("*") if path.is_file()),
        pages=pages,
        site_mb=size_mb(site),
        index_kb=packed / 1e3,
        loading=shown,
        slice_results=len(night := generated.newest(folder)),
        beside=(ours(scratch), others.allure(night, scratch), others.junit2html(night, scratch)),
    )


def damage(folder: Path) -> None:
    """Files as a bad night leaves them: half a result, and a Parquet file that is none."""
    half = next(folder.glob("*/*/loading.result.json"))
    half.write_bytes(half.read_bytes()[:200])
    (folder / "archive" / "results" / "month=2026-01" / "half.parquet").write_bytes(b"PAR1")


def ours(scratch: Path) -> Beside:
    """This project's site of one night alone."""
    folder, site = scratch / "slice", scratch / "site of the slice"
    generated.night(folder, 1)
    found = took(parts.command("whole", folder, site))
    return Beside(tool="this project", took=found, site_mb=size_mb(site))


if __name__ == "__main__":
    main()
