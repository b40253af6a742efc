"""What is measured of the site, each in a process of its own.

`python -m tests.benchmarks.grid.parts PART FOLDER SITE` makes a part.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path

from matrix.results import write_bytes
from reports import store
from reports.site import build, cells, pages
from reports.site.gather import gather
from reports.site.rendering import environment
from tests.benchmarks.grid import generated

NOW = dt.datetime.combine(generated.FIRST + dt.timedelta(days=generated.NIGHTS), dt.time(6), tzinfo=dt.UTC)


def index(folder: Path, site: Path) -> None:
    """The first page and all JSON."""
    with store.opened(folder) as found:
        shown = gather(found, made_at=NOW)
        made = environment(shown)
        for path, content in [*pages.front(shown, made), *cells.records(shown)]:
            write_bytes(site / path, content)


def whole(folder: Path, site: Path) -> None:
    """Every page and file."""
    with store.opened(folder) as found:
        build.write(gather(found, made_at=NOW), found, site)


PARTS: dict[str, Callable[[Path, Path], None]] = {"index": index, "whole": whole}


def command(part: str, folder: Path, site: Path) -> tuple[str, ...]:
    """How to run a part."""
    return (sys.executable, "-m", "tests.benchmarks.grid.parts", part, str(folder), str(site))


if __name__ == "__main__":
    PARTS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
