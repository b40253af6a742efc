"""What will run: the plan, the jobs of a night, and what is fetched before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table

from commands.options import (
    MatrixOption,
    NightOption,
    ProfileOption,
    ResultsOption,
    SelectOption,
    SummaryOption,
    err,
    out,
    session_options,
    summarise,
)
from commands.tonight import plan_night
from matrix.cells import Cell
from matrix.jobs import Job, shards
from matrix.plan import NIGHT_ENDING, Night
from matrix.results import write_json
from probes import stage
from probes.session import Session, new_run_id
from reports import outcome, store
from reports import summary as summaries
from runners import cache, parcels
from runners.progress import Board

app = typer.Typer()


@app.command()
def plan(
    profile: ProfileOption = "quick",
    select: SelectOption = None,
    matrix: MatrixOption = None,
    format: Annotated[Literal["table", "json", "github"], typer.Option(help="How to print the plan.")] = "table",
    night: NightOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each cell why a night would ask it or not, and what that costs.")
    ] = False,
    accelerator_hours: Annotated[
        float | None, typer.Option(min=0, metavar="H", help="What the night may cost; default: what the profile says.")
    ] = None,
    every_cell: Annotated[
        bool, typer.Option("--every-cell", help="Ask also what is unchanged, and whatever it costs.")
    ] = False,
    results: ResultsOption = Path("results"),
    record: Annotated[
        Path | None, typer.Option("--record", metavar="DIR", help="Also write the night's record into this folder.")
    ] = None,
    summary: SummaryOption = None,
) -> None:
    """Show which cells would run, and why others would not. Nothing is started.

    With --explain or --format github it is a night that is planned: new models and releases first, then what is red
    or has changed, then the rest in turn, within the budget; what is unchanged waits for its turn. --format github
    prints its jobs as a matrix of matrices for `fromJSON`: without what --results holds of that night already, and
    without devices that have no runner, which standard error names.
    """
    session = Session(session_options(matrix, profile, select))
    if format == "github" or explain:
        with store.opened(results) as found:
            made, jobs = plan_night(session, night or new_run_id(), found, accelerator_hours, every_cell=every_cell)
        if explain:
            _explain(made)
            return
        _print_jobs(made, jobs, record, summary)
    elif format == "json":
        rows = [{"id": p.cell.id, "excluded": p.excluded, "cell": p.cell} for p in session.plan]
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        table = Table(title=f"profile {profile}", title_justify="left")
        for name in ("cell", "build", "runs"):
            table.add_column(name, overflow="fold")
        for planned in session.plan:
            table.add_row(planned.cell.id, _build(planned.cell), planned.excluded or "yes")
        out.print(table)


def _explain(made: Night) -> None:
    table = Table(title=f"a night of profile {made.profile}", title_justify="left")
    for name in ("cell", "asked", "why"):
        table.add_column(name, overflow="fold")
    for cell, why in made.reasons.items():
        table.add_row(cell, "yes", why)
    for cell, why in made.left_out.items():
        table.add_row(cell, "no", why)
    out.print(table)
    out.print(summaries.cost(made))


def _print_jobs(made: Night, jobs: Sequence[Job], record: Path | None, summary: Path | None) -> None:
    for cell, reason in made.left_out.items():
        err.print(f"left out: {cell}: {reason}")
    if record is not None:
        write_json(record / f"{made.night}{NIGHT_ENDING}", made)
    summarise(summary, summaries.plan(made, jobs))
    parts = shards(jobs)
    include = [
        {"shard": number, "jobs": msgspec.json.encode({"include": part}).decode()}
        for number, part in enumerate(parts, start=1)
    ]
    typer.echo(msgspec.json.encode({"include": include}).decode())


def _build(cell: Cell) -> str:
    unpinned = cell.image is not None and cell.image.digest is None
    return f"{cell.build}, image not pinned" if unpinned else cell.build


@app.command()
def prefetch(
    profile: ProfileOption = "quick",
    select: SelectOption = None,
    matrix: MatrixOption = None,
    night: NightOption = None,
    results: ResultsOption = Path("results"),
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Also pack them, for `readiness cache --import DIR`.")
    ] = None,
) -> None:
    """Fetch models and compute references, with no engine near them. HF_TOKEN is needed for gated models here only.

    With --night only what that night asks, by its record in --results.
    Exit status 3 where one cannot be had; the others are there all the same.
    """
    session = Session(session_options(matrix, profile, select))
    cells = [planned.cell for planned in session.plan if planned.excluded is None]
    if night is not None:
        with store.opened(results) as found:
            asked = plan_night(session, night, found)[0].cells
        cells = [cell for cell in cells if cell.id in asked]
    checkpoints = stage.prefetch(session, cells, Board(out))
    if export is not None:
        closed = [
            found.folder.name
            for name, found in checkpoints.items()
            if found is not None and not session.matrix.models[name].may_be_passed_on
        ]
        for line in parcels.pack(export, cache.used_here(), closed):
            out.print(line)
    raise SystemExit(outcome.NOT_MEASURED if None in checkpoints.values() else outcome.OK)
