"""docs/grid.md, from what was measured. Pure."""

from __future__ import annotations

import datetime as dt

from matrix.cells import Record
from probes.provenance import machine
from reports.markdown import row
from tests.benchmarks.grid import generated
from tests.benchmarks.grid.loading import Loading
from tests.benchmarks.grid.others import Beside
from tests.benchmarks.grid.taking import Took


class Measured(Record, frozen=True, kw_only=True):
    """One run of the benchmark."""

    results: int
    problems: int
    index: Took
    whole: Took
    more: Took
    """The whole site again, after one more night."""
    written: int
    """Files that the night more changed."""
    files: int
    pages: int
    site_mb: float
    index_kb: float
    """The first page, gzipped."""
    loading: Loading
    slice_results: int
    beside: tuple[Beside, ...]


Goal = tuple[str, str, str, bool]
"""What was wanted: of what, how much, how much it is, and whether that is enough."""


def goals(of: Measured) -> list[Goal]:
    """In the order of the page."""
    slowest = max(of.loading.interactive_s)
    return [
        ("index and all JSON", "10 s", f"{of.index.seconds:.1f} s", of.index.seconds <= 10),
        ("its memory", "1 GB", f"{of.index.peak_gb:.2f} GB", of.index.peak_gb <= 1),
        ("whole site", "60 s", f"{of.whole.seconds:.1f} s", of.whole.seconds <= 60),
        ("one night more", "5 s", f"{of.more.seconds:.1f} s", of.more.seconds <= 5),
        ("first page, gzipped", "300 kB", f"{of.index_kb:.0f} kB", of.index_kb <= 300),
        ("first page usable in Chromium", "1 s", str(of.loading), slowest <= 1),
    ]


def page(of: Measured) -> str:
    """The page as text."""
    lines = [
        "# What the site costs", "",
        f"Written by `make bench-grid` on {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}. Do not edit.", "",
        f"A generated history of {of.results:,} results: {generated.MODELS} models on {generated.ENGINES} engines, "
        f"{len(generated.PROBES)} probes, {generated.NIGHTS} nights with gaps, failures and steps in speed; all but "
        f"the last night are Parquet files. {of.problems} files are damaged, and said to be on the first page. "
        "Times are those of a process from its start to its end.", "",
        row(["goal", "at most", "measured", ""]), row(["---"] * 4),
        *(row([name, wanted, found, "met" if met else "**missed**"]) for name, wanted, found, met in goals(of)), "",
        f"The site has {of.files:,} files, {of.pages} of them pages, {of.site_mb:.0f} MB with the Parquet files. "
        f"A night more changes {of.written:,} of them: every cell was measured again. The whole takes "
        f"{of.whole.cpu_s:.1f} s of CPU and {of.whole.peak_gb:.2f} GB, the night more {of.more.cpu_s:.1f} s "
        "of CPU.", "",
        "## Beside it", "",
        f"One night alone, {of.slice_results:,} results, in each tool's own format. The others keep no history and "
        "know no levels; they are here for scale.", "",
        row(["tool", "seconds", "CPU", "memory", "report"]), row(["---"] + ["---:"] * 4),
        *(_beside(one) for one in of.beside), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _beside(one: Beside) -> str:
    took = one.took
    return row(
        [one.tool, f"{took.seconds:.1f}", f"{took.cpu_s:.1f} s", f"{took.peak_gb:.2f} GB", f"{one.site_mb:.1f} MB"]
    )
