"""Measure: run the matrix, ask a server that is already up, judge again what was measured."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
import typer

import probes
from commands.options import (
    MatrixOption,
    NightOption,
    ProfileOption,
    ResultsOption,
    SelectOption,
    SiteOption,
    TierOption,
    err,
    matrix_of,
    out,
    refuse,
    session_options,
)
from matrix.errors import WrongInput
from matrix.results import Status, write_json
from probes import registry, rejudge, stage, verify
from probes.session import Options, Session, new_run_id
from probes.stopwatch import HARNESS, PARTS
from reports import cost, outcome, render, runs, store
from reports.grid import grid as make_grid
from reports.site import build
from reports.site.gather import gather
from reports.standing import standing
from runners import cache as cache_room
from runners import images as images_room
from runners import reap as reap_room
from runners import registry as engine_registry
from runners import signals
from runners.progress import Board

app = typer.Typer()


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
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped: its id.")
    ] = None,
    tier: TierOption = None,
) -> None:
    """Start every engine of the plan, ask every probe, write results, site and JUnit XML, and print the grid.

    Exit status: 0 as expected, 1 an unexpected failure of an engine, 2 wrong input, 3 something could not be measured.
    """
    folder = results.resolve() / (resume or new_run_id())
    options = session_options(matrix, profile, select, launcher=launcher, run=str(folder), night=night, tier=tier)
    if resume is not None:
        options = _rest_of(folder, options)
    raise SystemExit(_run(options, results, site, junit_file, workers))


def _run(options: Options, results: Path, site: Path, junit_file: Path, workers: int) -> int:
    session = Session(options)
    session.check()
    options = msgspec.structs.replace(options, launcher=session.launcher.name)
    out.print(f"launcher: {session.launcher.name} ({session.launcher.why})")
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


def _rest_of(folder: Path, options: Options) -> Options:
    """The same with those cells alone that the run has not finished; raises WrongInput where there is nothing to do."""
    if not folder.is_dir():
        raise WrongInput(f"--resume: no run in {folder}")
    session = Session(options)
    done = runs.read_run(folder).finished(tuple(session.probes))
    rest = tuple(planned.cell.id for planned in session.plan if planned.cell.id not in done)
    if not rest:
        raise WrongInput(f"--resume: every cell of profile {options.profile!r} is finished in {folder}")
    return msgspec.structs.replace(options, select=rest)


def _keep_budget() -> None:
    budget = cache_room.budget_bytes()
    if budget is not None:
        for entry in cache_room.prune(max_bytes=budget, removers={images_room.KIND: images_room.forget}):
            out.print(f"over {cache_room.BUDGET}: removed {entry.kind} {entry.label}")


def _status(code: int, folder: Path) -> int:
    """The exit status of a run, from how pytest ended and what it left."""
    if code == pytest.ExitCode.INTERRUPTED:
        err.print(f"readiness: interrupted; what was measured is in {folder}")
        return outcome.INTERRUPTED
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return outcome.NOT_MEASURED  # pytest itself did not get through
    return outcome.exit_status(runs.read_run(folder).results)


def _pytest_arguments(options: Options, junit_file: Path, workers: int) -> list[str]:
    folder = Path(probes.__file__).parent
    arguments = [str(folder / "test_matrix.py"), "-v", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    arguments += ["-c", os.devnull, "--rootdir", str(folder)]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # plugins are imported before pytest is started
    arguments += ["--run-folder", options.run, "--junit", str(junit_file)]
    arguments += ["--matrix", options.matrix, "--profile", options.profile]
    arguments += [word for pattern in options.select for word in ("--cells", pattern)]
    given = {"--launcher": options.launcher, "--attached": options.attached}
    given |= {"--night": options.night, "--tier": options.tier}
    arguments += [word for option, value in given.items() if value for word in (option, value)]
    return arguments + (["-n", str(workers)] if workers > 1 else [])


def _report(
    folder: Path, staged: dict[str, float], total_s: float, results: Path, site: Path, junit_file: Path
) -> None:
    found = runs.read_run(folder)
    before_s = (
        found.cost.total_s if found.cost is not None else 0.0
    )  # of a run that goes on; what was staged then counts as the harness's
    spent = _cost(found, staged, before_s + total_s)
    write_json(folder / cost.FILE, spent)
    out.print(render.terminal(make_grid(standing(found.results), every_release=True)))
    with store.opened(results) as all_results:
        page = build.write(gather(all_results, made_at=dt.datetime.now(dt.UTC)), all_results, site)
    out.print(cost.sentence(spent))
    out.print(f"results: {folder}\nsite: {page}\nJUnit XML: {junit_file}")


def _cost(found: runs.Run, staged: dict[str, float], total_s: float) -> cost.Cost:
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
    tier: TierOption = None,
) -> None:
    """Ask the same probes of a server that is already up: a deployment, or somebody's endpoint."""
    folder = results.resolve() / new_run_id()
    attached = verify.attached(matrix_of(matrix), engine_registry.engines(), url, model, engine)
    write_json(folder / "attached.json", attached)
    attached_file = str(folder / "attached.json")
    options = session_options(matrix, "quick", None, run=str(folder), attached=attached_file, tier=tier)
    session = Session(options)
    session.check()
    console = err if json_output else out
    stage.stage(session, Board(console))
    with contextlib.redirect_stdout(sys.stderr if json_output else sys.stdout):
        code = pytest.main(_pytest_arguments(options, folder / "junit.xml", 1))
    found = runs.read_run(folder)
    if json_output:
        typer.echo(msgspec.json.format(msgspec.json.encode(found.results)).decode())
    else:
        out.print(render.terminal(make_grid(standing(found.results), every_release=True)))
    raise SystemExit(_status(code, folder))


@app.command()
def judge(
    results: ResultsOption = Path("results"),
    run_id: Annotated[str | None, typer.Option("--run", help="One run; default: the newest.")] = None,
) -> None:
    """Recompute verdicts from stored measurements; exit status 1 where one differs from what was stored."""
    found = [run for run in runs.read(results).runs if run_id in (None, run.run_id) and run.results]
    if not found:
        named = f" {run_id}" if run_id else ""
        refuse(f"no run{named} with results in {results}")
    changed = 0
    for result in found[-1].results:
        again = rejudge.rejudge(found[-1].folder, result, registry.probes())
        if again is None:
            out.print(f"{result.cell_id} {result.probe}: {result.verdict.status.value}, nothing was measured")
            continue
        changed += not again.same
        mark = "same" if again.same else f"was {result.verdict.status.value}"
        if again.same and result.verdict.status is Status.REF_SUSPECT:
            mark = "same; REF-SUSPECT beside other engines"
        out.print(
            f"{result.cell_id} {result.probe}: {again.verdict.status.value} ({mark}): {again.verdict.reason}",
        )
    raise SystemExit(outcome.UNEXPECTED if changed else outcome.OK)
