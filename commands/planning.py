"""What will run: the plan, the jobs of a night, and what is fetched before."""

from __future__ import annotations

import datetime as dt
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
from matrix import plan as planning
from matrix.cells import Cell
from matrix.results import write_json
from probes import stage
from probes.session import Session, new_run_id
from reports import outcome, runs, store
from reports import summary as summaries
from reports.store import Store
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
    results: ResultsOption = Path("results"),
    record: Annotated[
        Path | None, typer.Option("--record", metavar="DIR", help="Also write the night's record into this folder.")
    ] = None,
    summary: SummaryOption = None,
) -> None:
    """Show which cells would run, and why others would not. Nothing is started.

    `--format github` prints the jobs of a night as a matrix for `fromJSON`: without what --results holds of that night
    already, and without devices that have no runner, which standard error names.
    """
    session = Session(session_options(matrix, profile, select))
    if format == "json":
        rows = [{"id": p.cell.id, "excluded": p.excluded, "cell": p.cell} for p in session.plan]
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    elif format == "github":
        with store.opened(results) as found:
            _plan_night(session, night or new_run_id(), found, record, summary)
    else:
        table = Table(title=f"profile {profile}", title_justify="left")
        for name in ("cell", "build", "runs"):
            table.add_column(name, overflow="fold")
        for planned in session.plan:
            table.add_row(planned.cell.id, _build(planned.cell), planned.excluded or "yes")
        out.print(table)


def _plan_night(session: Session, name: str, found: Store, record: Path | None, summary: Path | None) -> None:
    made = planning.night(name, session.options.profile, session.plan, planned_at=dt.datetime.now(dt.UTC))
    made = next((known for known in found.nights if known.night == name), made)  # a night that is tried again
    done = runs.answered(found.results("night = ?", [name]), tuple(session.probes))
    jobs = planning.jobs([p.cell for p in session.plan if p.cell.id in made.cells and p.cell.id not in done])
    for cell, reason in made.left_out.items():
        err.print(f"left out: {cell}: {reason}", markup=False, highlight=False)
    if record is not None:
        write_json(record / f"{name}{planning.NIGHT_ENDING}", made)
    summarise(summary, summaries.plan(made, jobs))
    typer.echo(msgspec.json.encode({"include": jobs}).decode())


def _build(cell: Cell) -> str:
    unpinned = cell.image is not None and cell.image.digest is None
    return f"{cell.build}, image not pinned" if unpinned else cell.build


@app.command()
def prefetch(
    profile: ProfileOption = "quick",
    select: SelectOption = None,
    matrix: MatrixOption = None,
    night: NightOption = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Also pack them, for `readiness cache --import DIR`.")
    ] = None,
) -> None:
    """Fetch models and compute references, with no engine near them. HF_TOKEN is needed for gated models here only.

    With --night only what a night runs: nothing for devices without a runner.
    Exit status 3 where one cannot be had; the others are there all the same.
    """
    session = Session(session_options(matrix, profile, select))
    cells = [planned.cell for planned in session.plan if planned.excluded is None]
    if night is not None:
        tonight = planning.night(night, profile, session.plan, planned_at=dt.datetime.now(dt.UTC)).cells
        cells = [cell for cell in cells if cell.id in tonight]
    checkpoints = stage.prefetch(session, cells, Board(out))
    if export is not None:
        closed = [
            found.folder.name
            for name, found in checkpoints.items()
            if found is not None and not session.matrix.models[name].may_be_passed_on
        ]
        for line in parcels.pack(export, cache.used_here(), closed):
            out.print(line, markup=False, highlight=False)
    raise SystemExit(outcome.NOT_MEASURED if None in checkpoints.values() else outcome.OK)
