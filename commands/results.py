"""From result files alone: bring them together, and show them."""

from __future__ import annotations

import datetime as dt
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from commands.options import NightOption, ResultsOption, SiteOption, SummaryOption, err, out, refuse, summarise
from matrix.results import write_bytes
from probes import arbitrate, comparison
from reports import chronicles, markdown, microscope, outcome, questions, render, store, time_to_ready
from reports import collect as collecting
from reports import summary as summaries
from reports.grid import grid as make_grid
from reports.site import build
from reports.site.gather import gather
from reports.standing import standing
from runners import registry as engine_registry

app = typer.Typer()


@app.command()
def collect(
    incoming: Annotated[Path, typer.Argument(help="Results of several jobs, one folder a run.")],
    results: Annotated[Path, typer.Option("--into", metavar="DIR", help="The results of all nights.")],
    summary: SummaryOption = None,
) -> None:
    """Bring the results of a night's jobs together. Nothing is overwritten, and doing it twice changes nothing.

    First, engines that the reference accuses are compared with each other, across jobs: where those of different
    lineage agree, their results say REF-SUSPECT instead. And speeds are compared: with a control in the same engine,
    and with the best engine of the same model.
    """
    for doubted in arbitrate.arbitrate(sorted(incoming.glob("*")), engine_registry.engines()):
        out.print(f"{doubted.cell_id}: REF-SUSPECT: {doubted.verdict.reason}")
    for paced in comparison.compare(sorted(incoming.glob("*"))):
        if paced.verdict.status.blames_engine:
            status, reason = paced.verdict.status.value, paced.verdict.reason
            out.print(f"{paced.cell_id}: {status}: {reason}")
    done = collecting.collect(incoming, results)
    summarise(summary, summaries.collected(done))
    out.print(f"{done.new} new files, {done.known} known already")
    for name in done.differing:
        err.print(f"kept as it was, though another one came: {name}")
    for name in done.withdrawn:
        out.print(f"no longer accuses an engine: {name}")


@app.command()
def grid(
    results: ResultsOption = Path("results"),
    site: SiteOption = Path("site"),
    microscope_file: Annotated[
        Path | None, typer.Option("--microscope", metavar="FILE", help="Also write what tiny checkpoints have shown.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option("--time-to-ready", metavar="FILE", help="Also write what `readiness history` has found."),
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the newest run as Markdown.")
    ] = None,
    night: NightOption = None,
    summary: SummaryOption = None,
    base: Annotated[
        str, typer.Option("--base", metavar="URL", help="Where the site will be published; for feeds.")
    ] = "",
) -> None:
    """Build the site and print the grid from result files alone.

    With --night, exit status 3 where that nightly run has brought no decided result; the site is built all the same.
    """
    made_at = dt.datetime.now(dt.UTC)
    with store.opened(results) as found:
        shown = gather(found, made_at=made_at)
        if not shown.grid.squares and night is None:
            refuse(f"no results in {results}; `readiness run` makes some")
        out.print(render.terminal(shown.grid))
        if microscope_file is not None:
            every = make_grid(shown.standings, every_release=True)
            write_bytes(microscope_file, microscope.render(every, found.fresh.runs, made_at=made_at).encode())
        if ready_file is not None:
            every, known = make_grid(shown.standings, every_release=True), chronicles.read(results)
            page = time_to_ready.render(time_to_ready.waits(every, known), known, made_at=made_at)
            write_bytes(ready_file, page.encode())
        if markdown_file is not None:
            last = next((run for run in reversed(found.fresh.runs) if run.results), None)
            if last is None:
                refuse(f"--markdown: no run in {results} has results outside the archive")
            squares = make_grid(standing(last.results), every_release=True)
            write_bytes(markdown_file, markdown.render(squares, last, made_at=made_at).encode())
        summarise(summary, summaries.grid(shown))
        out.print(f"site: {build.write(shown, found, site, base=base)}")
        of_night = found.results("night = ?", [night]) if night is not None else []
        quiet = any(one.night == night and not one.cells for one in found.nights)  # nothing was to be asked
    if night is not None and not quiet and not any(result.verdict.status.decided for result in of_night):
        err.print(f"readiness: night {night} has brought no decided result")
        raise SystemExit(outcome.NOT_MEASURED)


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="A cell's id, or a glob that matches some.")],
    results: ResultsOption = Path("results"),
) -> None:
    """Print all evidence of a cell: sentences, numbers, versions, log tail, and where the log lies."""
    with store.opened(results) as found:
        held = questions.standing(found)
    newest = [result for one in held for result in (one.result, one.later) if result is not None]
    matching = [result for result in newest if fnmatchcase(result.cell_id, cell)]
    if not matching:
        refuse(f"no result of a cell {cell!r} in {results}")
    for result in matching:
        out.print(render.evidence(result))
        out.print(
            f"log: {results / result.provenance.run_id / result.cell_id / 'server.log'}\n",
        )
