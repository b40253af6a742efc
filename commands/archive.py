"""Questions to all that was ever measured, and its archive."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from commands.options import ResultsOption, day, err, out, refuse
from matrix.results import Status
from reports import compact as compacting
from reports import questions, render, store
from reports.diff import diff
from reports.store import Store

app = typer.Typer()

KEEP_DAYS = 2
"""A night may still be going on, or a part of it be run again."""


@app.command("results")
def show_results(
    cells: Annotated[str, typer.Argument(help="A cell's id, or a glob such as 'vllm-*__qwen*'.")] = "*",
    results: ResultsOption = Path("results"),
    probe: Annotated[str | None, typer.Option(help="Only of this probe.")] = None,
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only with this status.")] = None,
    since: Annotated[
        dt.date | None, typer.Option(metavar="DAY", parser=day, help="Only from this day (UTC) on.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="All of them, and not only what stands today.")] = False,
    diff_nights: Annotated[
        tuple[str, str] | None, typer.Option("--diff", metavar="NIGHT NIGHT", help="What changed between two nights.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Ask what was measured: what stands, the history of cells, or the difference of two nights.

    A night is the name of a nightly run, or a day (UTC).
    """
    filters = {
        "cell_id GLOB ?": cells,
        "probe = ?": probe,
        "status = ?": None if status is None else status.value,
        "started_at >= ?": None if since is None else since.isoformat(),
    }
    given = {sql: value for sql, value in filters.items() if value is not None}
    with store.opened(results) as found:
        for problem in found.problems:
            err.print(f"readiness: {problem}")
        if diff_nights is not None:
            _print_diff(found, given, diff_nights)
            return
        kept = found.results(" AND ".join(given), list(given.values()))
        if not history:
            standing = {(one.result.cell_id, one.result.probe): one.result for one in questions.standing(found)}
            kept = [result for result in kept if standing[result.cell_id, result.probe] == result]
    if json_output:
        typer.echo(msgspec.json.format(msgspec.json.encode(kept)).decode())
    else:
        out.print(render.listing(kept))


def _print_diff(found: Store, filters: dict[str, str], names: tuple[str, str]) -> None:
    sides = []
    for name in names:
        where = " AND ".join([*filters, "(night = ? OR strftime(started_at, '%Y-%m-%d') = ?)"])
        sides.append(found.results(where, [*filters.values(), name, name]))
        if not sides[-1]:
            refuse(
                f"nothing was measured in night {name!r}" + (" that these filters leave" if len(filters) > 1 else "")
            )
    changes = diff(*sides)
    for one in changes:
        out.print(f"{one.cell_id} {one.probe}: {one.sentence}")
    same = len({(result.cell_id, result.probe) for side in sides for result in side}) - len(changes)
    out.print(f"{len(changes)} changed, {same} did not")


@app.command()
def compact(
    results: ResultsOption = Path("results"),
    keep_days: Annotated[
        int, typer.Option(min=0, help="Runs that began in the last so many days (UTC) are left alone.")
    ] = KEEP_DAYS,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take away the JSON files that the archive then holds.")
    ] = False,
) -> None:
    """Compact older runs into Parquet files by month, below `archive` in the folder of results.

    They are read back and compared before anything is taken away. Files that nobody can read are set aside, and named.
    """
    now = dt.datetime.now(dt.UTC)
    with store.opened(results) as found:
        done = compacting.compact(found, before=now.date() - dt.timedelta(days=keep_days - 1), remove=remove, now=now)
    out.print(
        f"{done.runs} runs: {done.new} results are new in the archive, {done.replaced} took the place of older ones;"
        f" {done.removed} files taken away, {done.merged} files of past months made one a month",
    )
    for name in done.aside:
        err.print(f"set aside, for nobody can read it: {name}")
