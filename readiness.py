"""The front door: the `readiness` command. It dispatches, and turns results into an exit status."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import pytest
import typer
from rich.console import Console
from rich.table import Table

import probes
from matrix import plan as planning
from matrix.cells import Cell, Release
from matrix.errors import Infrastructure, WrongInput
from matrix.load import Matrix, did_you_mean
from matrix.results import write_bytes, write_json
from probes import rejudge, stage, verify
from probes.session import Options, Session, new_run_id
from probes.stopwatch import HARNESS, PARTS
from reports import collect as collecting
from reports import cost, markdown, outcome, render, store
from reports import site as sites
from reports import summary as summaries
from reports.bugs import draft as drafting
from reports.grid import grid as make_grid
from runners import cache as cache_room
from runners import daemon, parcels, signals
from runners import doctor as doctor_room
from runners import images as images_room
from runners import reap as reap_room
from runners.progress import Board

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which inference engine runs which model rightly and at speed. Start with `doctor`, then `run`.",
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

MatrixOption = Annotated[
    str | None,
    typer.Option("--matrix", metavar="DIR", envvar="READINESS_MATRIX", help="Folder with your own TOML tables."),
]
ProfileOption = Annotated[str, typer.Option("--profile", help="Named choice of cells, from profiles.toml.")]
SelectOption = Annotated[
    list[str] | None, typer.Option("--select", metavar="GLOB", help="Only cells whose id matches.")
]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of result files, one per run.")]
NightOption = Annotated[
    str | None, typer.Option("--night", metavar="NAME", help="The nightly run that this is a part of.")
]
SummaryOption = Annotated[
    Path | None, typer.Option("--summary", metavar="FILE", help="Append what was done, as Markdown, to this file.")
]
SiteOption = Annotated[Path, typer.Option("--site", metavar="DIR", help="Folder of the static site.")]


def main() -> None:
    """Run the command; wrong input is one line on standard error and exit status 2."""
    try:
        app()
    except WrongInput as error:
        _refuse(str(error))
    except Infrastructure as error:
        err.print(f"readiness: {error}", markup=False, highlight=False)
        raise SystemExit(outcome.NOT_MEASURED) from None


def _refuse(message: str) -> NoReturn:
    err.print(f"readiness: {message}", markup=False, highlight=False)
    raise SystemExit(outcome.WRONG_INPUT)


def _options(matrix: str | None, profile: str, select: list[str] | None, **more: Any) -> Options:
    given = {"matrix": matrix} if matrix is not None else {}
    return Options(**given, profile=profile, select=tuple(select or ()), **more)


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
    session = Session(_options(matrix, profile, select))
    if format == "json":
        rows = [{"id": p.cell.id, "excluded": p.excluded, "cell": p.cell} for p in session.plan]
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    elif format == "github":
        _plan_night(session, night or new_run_id(), store.read(results), record, summary)
    else:
        table = Table(title=f"profile {profile}", title_justify="left")
        for name in ("cell", "build", "runs"):
            table.add_column(name, overflow="fold")
        for planned in session.plan:
            table.add_row(planned.cell.id, _build(planned.cell), planned.excluded or "yes")
        out.print(table)


def _plan_night(session: Session, name: str, found: store.Store, record: Path | None, summary: Path | None) -> None:
    made = planning.night(name, session.options.profile, session.plan, planned_at=dt.datetime.now(dt.UTC))
    made = next((known for known in found.nights if known.night == name), made)  # a night that is tried again
    done = found.measured(name, tuple(session.probes))
    jobs = planning.jobs([p.cell for p in session.plan if p.cell.id in made.cells and p.cell.id not in done])
    for cell, reason in made.left_out.items():
        err.print(f"left out: {cell}: {reason}", markup=False, highlight=False)
    if record is not None:
        write_json(record / f"{name}{planning.NIGHT_ENDING}", made)
    _summarise(summary, summaries.plan(made, jobs))
    typer.echo(msgspec.json.encode({"include": jobs}).decode())


def _summarise(summary: Path | None, text: str) -> None:
    if summary is not None:
        with summary.open("a") as file:
            file.write(f"{text}\n")


def _build(cell: Cell) -> str:
    unpinned = cell.image is not None and cell.image.digest is None
    return f"{cell.build}, image not pinned" if unpinned else cell.build


@app.command()
def run(
    profile: ProfileOption = "quick",
    select: SelectOption = None,
    matrix: MatrixOption = None,
    launcher: Annotated[
        str | None, typer.Option(help="docker or venv; default: docker where a daemon answers.")
    ] = None,
    results: ResultsOption = Path("results"),
    site: SiteOption = Path("site"),
    junit_file: Annotated[Path, typer.Option("--junit", metavar="FILE", help="JUnit XML of the run.")] = Path(
        "junit.xml"
    ),
    workers: Annotated[int, typer.Option("-n", "--workers", help="Cells at once; speed means little above 1.")] = 1,
    night: NightOption = None,
) -> None:
    """Start every engine of the plan, ask every probe, write results, site and JUnit XML, and print the grid.

    Exit status: 0 as expected, 1 an unexpected failure of an engine, 2 wrong input, 3 something could not be measured.
    """
    folder = results.resolve() / new_run_id()
    options = _options(matrix, profile, select, launcher=launcher, run=str(folder), night=night)
    raise SystemExit(_run(options, results, site, junit_file, workers))


def _run(options: Options, results: Path, site: Path, junit_file: Path, workers: int) -> int:
    session = Session(options)
    session.check()
    options = msgspec.structs.replace(options, launcher=session.launcher.name)
    out.print(f"launcher: {session.launcher.name} ({session.launcher.why})", markup=False, highlight=False)
    signals.terminate_like_interrupt()
    _keep_budget()
    cache_room.register_run(session.run.name)
    started = time.monotonic()
    try:
        staged = stage.stage(session, Board(out))
        code = pytest.main(_pytest_arguments(options, junit_file, workers))
    finally:
        reap_room.reap_run(session.run.name)
    _report(session.run, staged, time.monotonic() - started, results, site, junit_file)
    return _status(code, session.run)


def _keep_budget() -> None:
    budget = cache_room.budget_bytes()
    if budget is not None:
        for entry in cache_room.prune(max_bytes=budget, removers={images_room.KIND: images_room.forget}):
            out.print(f"over {cache_room.BUDGET}: removed {entry.kind} {entry.label}", markup=False, highlight=False)


def _status(code: int, folder: Path) -> int:
    """The exit status of a run, from how pytest ended and what it left."""
    if code == pytest.ExitCode.INTERRUPTED:
        err.print(f"readiness: interrupted; what was measured is in {folder}", markup=False, highlight=False)
        return outcome.INTERRUPTED
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return outcome.NOT_MEASURED  # pytest itself did not get through
    return outcome.exit_status(store.read_run(folder).results)


def _pytest_arguments(options: Options, junit_file: Path, workers: int) -> list[str]:
    folder = Path(probes.__file__).parent
    arguments = [str(folder / "test_matrix.py"), "-v", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    arguments += ["-c", os.devnull, "--rootdir", str(folder)]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # plugins are imported before pytest is started
    arguments += ["--run-folder", options.run, "--junit", str(junit_file)]
    arguments += ["--matrix", options.matrix, "--profile", options.profile]
    arguments += [word for pattern in options.select for word in ("--cells", pattern)]
    given = {"--launcher": options.launcher, "--attached": options.attached, "--night": options.night}
    arguments += [word for option, value in given.items() if value for word in (option, value)]
    return arguments + (["-n", str(workers)] if workers > 1 else [])


def _report(
    folder: Path, staged: dict[str, float], total_s: float, results: Path, site: Path, junit_file: Path
) -> None:
    found = store.read_run(folder)
    spent = _cost(found, staged, total_s)
    write_json(folder / cost.FILE, spent)
    out.print(render.terminal(make_grid(store.standing(found.results))))
    page = sites.write(store.read(results), site, made_at=dt.datetime.now(dt.UTC))
    out.print(cost.sentence(spent), markup=False, highlight=False)
    out.print(f"results: {folder}\nsite: {page}\nJUnit XML: {junit_file}", markup=False, highlight=False)


def _cost(found: store.Run, staged: dict[str, float], total_s: float) -> cost.Cost:
    parts = {name: found.seconds.get(name, 0.0) + staged.get(name, 0.0) for name in PARTS}
    parts[HARNESS] += max(total_s - sum(parts.values()), 0.0)
    cells = len({result.cell_id for result in found.results})
    return cost.Cost(total_s=total_s, parts_s=parts, harness_s=parts[HARNESS], cells=cells)


@app.command("verify")
def verify_server(
    url: Annotated[str, typer.Argument(help="Base URL of a running server, for example http://127.0.0.1:8000.")],
    model: Annotated[
        str, typer.Option(help="What it should serve: a checkpoint folder, REPO@COMMIT, or a model's id.")
    ],
    engine: Annotated[str | None, typer.Option(help="The engine, where the server does not say.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    matrix: MatrixOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Ask the same probes of a server that is already up: a deployment, or somebody's endpoint."""
    folder = results.resolve() / new_run_id()
    described = Session(_options(matrix, "quick", None))
    attached = verify.attached(described.matrix, described.engines, url, model, engine)
    write_json(folder / "attached.json", attached)
    options = _options(matrix, "quick", None, run=str(folder), attached=str(folder / "attached.json"))
    session = Session(options)
    console = err if json_output else out
    stage.stage(session, Board(console))
    with contextlib.redirect_stdout(sys.stderr if json_output else sys.stdout):
        code = pytest.main(_pytest_arguments(options, folder / "junit.xml", 1))
    found = store.read_run(folder)
    if json_output:
        typer.echo(msgspec.json.format(msgspec.json.encode(found.results)).decode())
    else:
        out.print(render.terminal(make_grid(store.standing(found.results))))
    raise SystemExit(_status(code, folder))


@app.command()
def prefetch(
    profile: ProfileOption = "quick",
    select: SelectOption = None,
    matrix: MatrixOption = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Also pack them, for `readiness cache --import DIR`.")
    ] = None,
) -> None:
    """Fetch models and compute references, with no engine near them. HF_TOKEN is needed for gated models here only.

    Exit status 3 where one cannot be had; the others are there all the same.
    """
    session = Session(_options(matrix, profile, select))
    started_at = dt.datetime.now(dt.UTC)
    checkpoints = stage.prefetch(session, Board(out))
    if export is not None:
        closed = [
            found.folder.name
            for name, found in checkpoints.items()
            if found is not None and not session.matrix.models[name].may_be_passed_on
        ]
        for line in parcels.pack(export, started_at, closed):
            out.print(line, markup=False, highlight=False)
    raise SystemExit(outcome.NOT_MEASURED if None in checkpoints.values() else outcome.OK)


@app.command()
def collect(
    incoming: Annotated[Path, typer.Argument(help="Results of several jobs, one folder a run.")],
    results: Annotated[Path, typer.Option("--into", metavar="DIR", help="The results of all nights.")],
    summary: SummaryOption = None,
) -> None:
    """Bring the results of a night's jobs together. Nothing is overwritten, and doing it twice changes nothing."""
    done = collecting.collect(incoming, results)
    _summarise(summary, summaries.collected(done))
    out.print(f"{done.new} new files, {done.known} known already", highlight=False)
    for name in done.differing:
        err.print(f"kept as it was, though another one came: {name}", markup=False, highlight=False)


@app.command()
def grid(
    results: ResultsOption = Path("results"),
    site: SiteOption = Path("site"),
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the newest run as Markdown.")
    ] = None,
    night: NightOption = None,
    summary: SummaryOption = None,
) -> None:
    """Build the site and print the grid from result files alone.

    With --night, exit status 3 where that nightly run has brought no decided result; the site is built all the same.
    """
    found = store.read(results)
    if not found.results and night is None:
        _refuse(f"no results in {results}; `readiness run` makes some")
    made_at = dt.datetime.now(dt.UTC)
    shown = sites.page(found, made_at=made_at)
    out.print(render.terminal(shown.grid))
    if markdown_file is not None:
        last = [run for run in found.runs if run.results][-1]
        squares = make_grid(store.standing(last.results))
        write_bytes(markdown_file, markdown.render(squares, last, made_at=made_at).encode())
    _summarise(summary, summaries.grid(shown))
    out.print(f"site: {sites.write(found, site, made_at=made_at)}", markup=False, highlight=False)
    if night is not None and not any(result.verdict.status.decided for result in found.of_night(night)):
        err.print(f"readiness: night {night} has brought no decided result", markup=False, highlight=False)
        raise SystemExit(outcome.NOT_MEASURED)


@app.command()
def bugs(
    results: ResultsOption = Path("results"),
    drafts: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the drafts.")] = Path("drafts"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write drafts and send nothing.")] = False,
    summary: SummaryOption = None,
) -> None:
    """Draft a bug report for every failure that two runs in a row have shown. Nothing is sent anywhere."""
    if not dry_run:
        _refuse("bugs are only drafted so far: say --dry-run")
    found = store.read(results)
    failures = drafting.failures(found)
    for failure in failures:
        if failure.confirmed:
            text = drafting.draft(failure, found.log_tail(failure.latest[0]))
            write_bytes(drafts / f"{failure.id}.md", text.encode())
        state = "drafted" if failure.confirmed else "seen once, waits for a second run"
        cells = ", ".join(result.cell_id for result in failure.latest)
        out.print(f"{failure.id}: {state}: {cells}", markup=False, highlight=False)
    _summarise(summary, drafting.summary(failures))


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="A cell's id, or a glob that matches some.")],
    results: ResultsOption = Path("results"),
) -> None:
    """Print all evidence of a cell: sentences, numbers, versions, log tail, and where the log lies."""
    standing = store.standing(store.read(results).results)
    newest = [result for found in standing for result in (found.result, found.later) if result is not None]
    matching = [result for result in newest if fnmatchcase(result.cell_id, cell)]
    if not matching:
        _refuse(f"no result of a cell {cell!r} in {results}")
    for result in matching:
        out.print(render.evidence(result))
        out.print(
            f"log: {results / result.provenance.run_id / result.cell_id / 'server.log'}\n",
            markup=False,
            highlight=False,
        )


@app.command()
def judge(
    results: ResultsOption = Path("results"),
    run_id: Annotated[str | None, typer.Option("--run", help="One run; default: the newest.")] = None,
) -> None:
    """Recompute verdicts from stored measurements; exit status 1 where one differs from what was stored."""
    runs = [run for run in store.read(results).runs if run_id in (None, run.run_id) and run.results]
    if not runs:
        _refuse(f"no run {run_id or ''} with results in {results}")
    session = Session(Options())
    changed = 0
    for result in runs[-1].results:
        again = rejudge.rejudge(runs[-1].folder, result, session.probes)
        if again is None:
            out.print(f"{result.cell_id} {result.probe}: {result.verdict.status.value}, nothing was measured")
            continue
        changed += not again.same
        mark = "same" if again.same else f"was {result.verdict.status.value}"
        out.print(
            f"{result.cell_id} {result.probe}: {again.verdict.status.value} ({mark}): {again.verdict.reason}",
            markup=False,
        )
    raise SystemExit(outcome.UNEXPECTED if changed else outcome.OK)


@app.command()
def doctor() -> None:
    """Say what this machine can run, what is missing, and how to get it."""
    table = Table(title=f"this machine (cache: {cache_room.root()})", title_justify="left")
    for name in ("what", "found", "needed for", "advice"):
        table.add_column(name, overflow="fold")
    for finding in doctor_room.examine():
        mark = "[green]✓[/green]" if finding.good else "[yellow]–[/yellow]"
        table.add_row(
            f"{mark} {finding.what}", finding.found, finding.needed_for, "" if finding.good else finding.advice
        )
    out.print(table)


@app.command()
def cache(
    prune_to_gib: Annotated[
        float | None, typer.Option("--prune-to-gib", help="Remove the longest unused until this much is left.")
    ] = None,
    older_than_days: Annotated[
        float | None, typer.Option("--older-than-days", help="Remove what was unused for longer.")
    ] = None,
    parcels_folder: Annotated[
        Path | None, typer.Option("--import", metavar="DIR", help="Take over what `prefetch --export` packed.")
    ] = None,
) -> None:
    """List what is cached: environments, images, models, references; or prune it by size and age.

    What a run that is still going has used stays. READINESS_CACHE_GIB is a budget that every run keeps when it begins.
    """
    if parcels_folder is not None:
        for label in parcels.unpack(parcels_folder):
            out.print(f"took over {label}", markup=False, highlight=False)
    if prune_to_gib is not None or older_than_days is not None:
        removed = cache_room.prune(
            max_bytes=None if prune_to_gib is None else int(prune_to_gib * 2**30),
            older_than=None if older_than_days is None else dt.timedelta(days=older_than_days),
            removers={images_room.KIND: images_room.forget},
        )
        for entry in removed:
            out.print(f"removed {entry.kind} {entry.key} ({entry.size / 2**20:.0f} MiB)")
    table = Table(title=str(cache_room.root()), title_justify="left")
    for name in ("kind", "what", "MiB", "made in", "last used"):
        table.add_column(name, overflow="fold")
    for entry, used in cache_room.entries():
        size = f"{entry.size / 2**20:.0f}"
        table.add_row(entry.kind, entry.label, size, f"{entry.seconds:.0f} s", f"{used:%Y-%m-%d %H:%M}")
    out.print(table)


images_app = typer.Typer(no_args_is_help=True, help="Images of engines: build, list, pull, pin.")
app.add_typer(images_app, name="images")

ReleasesArgument = Annotated[list[str] | None, typer.Argument(metavar="[RELEASE]…", help="Ids; none: all there are.")]


@images_app.command("build")
def images_build(releases: ReleasesArgument = None, matrix: MatrixOption = None) -> None:
    """Build the images of releases that run on CPUs from their locks; those that are here stay as they are."""
    found = _matrix(matrix)
    board = Board(out)
    with board.live(), daemon.connected() as client:
        for release in _chosen(found, releases, lambda release: release.requirements is not None):
            with board.line(release.id) as say:
                built = images_room.build(client, release, found.folder, say)
            out.print(f"{release.id}: {built.name} {built.digest}", markup=False, highlight=False)


@images_app.command("pull")
def images_pull(releases: ReleasesArgument = None, matrix: MatrixOption = None) -> None:
    """Pull the official images of releases: by digest where one is pinned, by tag otherwise."""
    board = Board(out)
    with board.live(), daemon.connected() as client:
        for release in _chosen(_matrix(matrix), releases, lambda release: release.image is not None):
            assert release.image is not None
            with board.line(release.id) as say:
                pulled = images_room.pull(client, release.image, say)
            out.print(f"{release.id}: {pulled.name} {pulled.digest}", markup=False, highlight=False)


@images_app.command("pin")
def images_pin(releases: ReleasesArgument = None, matrix: MatrixOption = None) -> None:
    """Ask each registry for the digest behind a tag, and write it beside the tag in engines.toml."""
    found = _matrix(matrix)
    with daemon.connected() as client:
        for changed in images_room.pin(client, found.path("engines.toml"), releases or ()):
            out.print(changed, markup=False, highlight=False)


@images_app.command("list")
def images_list(matrix: MatrixOption = None) -> None:
    """List official images with their digests, and the images built here."""
    table = Table(title="images", title_justify="left")
    for name in ("release", "image", "for", "digest or size"):
        table.add_column(name, overflow="fold")
    for release in _matrix(matrix).releases.values():
        if release.image is not None:
            kinds = ", ".join(release.image.device_kinds)
            table.add_row(release.id, release.image.tag, kinds, release.image.digest or "not pinned")
    with daemon.connected() as client:
        for release_id, tag, size in images_room.tags(client):
            table.add_row(release_id, tag, "cpu", f"{size / 2**30:.2f} GiB, built here")
    out.print(table)


def _matrix(folder: str | None) -> Matrix:
    return Session(_options(folder, "quick", None)).matrix


def _chosen(matrix: Matrix, ids: list[str] | None, serves: Callable[[Release], bool]) -> list[Release]:
    for name in ids or ():
        if name not in matrix.releases:
            raise WrongInput(f"unknown release {name!r}{did_you_mean(name, list(matrix.releases))}")
    chosen = [matrix.releases[name] for name in ids] if ids else list(matrix.releases.values())
    return [release for release in chosen if serves(release)]


@app.command()
def reap() -> None:
    """Remove processes and containers that a broken run left behind; those of a run that still goes are left alone."""
    for removed in reap_room.reap_orphans():
        out.print(f"removed {removed}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
