"""In which release a fault began or ended: `readiness bisect`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from packaging.version import Version

from commands.options import MatrixOption, ResultsOption, err, matrix_of, out
from matrix import bisection
from matrix.bisection import FOLDER, Bisection, Trial
from matrix.cells import Cell
from matrix.errors import WrongInput
from matrix.load import Matrix, did_you_mean, nearest
from matrix.reproduction import Launcher
from matrix.results import Result, read_json, write_json
from probes import bisect as searching
from probes import registry, trials
from probes.provenance import harness_version
from reports import outcome
from reports.bugs import clusters, signature
from runners import releases, signals
from runners.releases import Past

app = typer.Typer()


def alike(one: Result, other: Result) -> bool:
    """Whether two results show the same failure, as the grid counts it."""
    first, second = signature.of(one), signature.of(other)
    bound = [(it.engine, it.probe, it.kind, it.within) for it in (first, second)]
    return bound[0] == bound[1] and clusters.near(first, second)


@app.command()
def bisect(
    target: Annotated[str, typer.Argument(metavar="CELL", help="A cell's id; with --repro, a release's.")],
    probe: Annotated[str | None, typer.Option(help="The probe that fails.")] = None,
    repro: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, help="A program that exits 1 with the fault, 0 without."),
    ] = None,
    good: Annotated[str | None, typer.Option(metavar="V", help="A version believed to be without it.")] = None,
    bad: Annotated[str | None, typer.Option(metavar="V", help="A version that shows it; default: the cell's.")] = None,
    good_runs: Annotated[int, typer.Option(min=1, help="How often a release must do without it.")] = trials.GOOD_RUNS,
    launcher: Annotated[Launcher, typer.Option(help="venv, or docker for the image of each release.")] = "venv",
    matrix: MatrixOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Find the first release that shows a fault, or with a newer --good the first without it.

    The releases and their dates come from the package index; each gets an environment of its own, resolved as of its
    day. What cannot be installed, or breaks in another way, is skipped and named. The answer lies in
    RESULTS/bisections, for the grid and for bug reports; a search that was stopped goes on where it was.
    """
    signals.terminate_like_interrupt()
    tabled = matrix_of(matrix)
    if (probe is None) == (repro is None):
        raise WrongInput("bisect needs either --probe or --repro")
    cell = _cell(tabled, target, of_release=repro is not None)
    pasts = {past.version: past for past in releases.published(releases.distribution(cell.release, tabled.folder))}
    question = _question(tabled, cell, probe, repro, _versions(list(pasts), cell, good, bad))
    path = results.resolve() / FOLDER / f"{question.name}.json"
    once = (
        trials.by_repro(repro) if repro else trials.by_probe(str(probe), pasts[question.versions[-1]], alike, launcher)
    )
    trier = trials.Trier(matrix=tabled, cell=cell, work=path.with_suffix(""), once=once, good_runs=good_runs)
    found = _search(question, pasts, trier, path, from_good=good is not None)
    answer = bisection.answer(found)
    out.print(f"{answer.sentence}\n{path}")
    if answer.first_bad is None:
        err.print("readiness: a fault that is not there cannot be searched for")
        raise SystemExit(outcome.NOT_MEASURED)


def _cell(matrix: Matrix, target: str, *, of_release: bool) -> Cell:
    """The cell of an id; of a release's id one on a CPU where there is one, for a repro brings its own model."""
    cells = {cell.id: cell for cell in matrix.cells()}
    if of_release:
        cells = {cell.release.id: cell for cell in sorted(cells.values(), key=lambda cell: cell.device.kind == "cpu")}
    if target not in cells:
        kind = "release" if of_release else "cell"
        raise WrongInput(f"unknown {kind} {target!r}; the nearest: {nearest(target, list(cells))}")
    return cells[target]


def _versions(published: list[str], cell: Cell, good: str | None, bad: str | None) -> tuple[str, ...]:
    """Those to search among, from the good one, or the oldest of all, to the bad one."""
    bad = bad or cell.release.version
    for option, version in (("--good", good), ("--bad", bad)):
        if version is not None and version not in published:
            raise WrongInput(f"{option}: the package index has no {version!r}{did_you_mean(version, published)}")
    if good == bad:
        raise WrongInput(f"--good and --bad are the same release, {bad}")
    first, last = published.index(good) if good else 0, published.index(bad)
    return tuple(published[first : last + 1] if first <= last else published[last : first + 1][::-1])


def _question(
    matrix: Matrix, cell: Cell, probe: str | None, repro: Path | None, versions: tuple[str, ...]
) -> Bisection:
    known = list(registry.probes("deep"))
    if probe is not None and probe not in known:
        raise WrongInput(f"unknown probe {probe!r}{did_you_mean(probe, known)}")
    what = (cell.id, probe) if probe else (cell.release.id, repro.resolve().parent.name if repro else "")
    return Bisection(
        name="__".join(map(str, what)),
        engine=cell.release.engine,
        cell_id=what[0],
        probe=probe,
        repro=hashlib.sha256(repro.read_bytes()).hexdigest() if repro is not None else None,
        distribution=releases.distribution(cell.release, matrix.folder),
        build=cell.build,
        build_note=cell.build_note,
        versions=versions,
        mended=Version(versions[0]) > Version(versions[-1]),
        harness_version=harness_version(),
    )


def _search(
    question: Bisection, pasts: dict[str, Past], trier: Callable[[Past], Trial], path: Path, *, from_good: bool
) -> Bisection:
    """Try one release after another, each written down at once; what was known of the same question stays."""
    found = _known(question, path)
    for trial in found.trials:
        _say(trial, "known already")
    while (index := searching.following(len(found.versions), found.known, from_good=from_good)) is not None:
        past = pasts[found.versions[index]]
        out.print(f"{past.version} ({past.released}) …")
        trial = trier(past)
        _say(trial, "its runs did not agree" if trial.flaky else "")
        found = msgspec.structs.replace(found, trials=(*found.trials, trial))
        write_json(path, found)
    found = msgspec.structs.replace(found, finished=True)
    write_json(path, found)
    return found


def _known(question: Bisection, path: Path) -> Bisection:
    if not path.is_file():
        return question
    before = read_json(path, Bisection)
    asked = ("cell_id", "probe", "repro", "distribution")
    if any(getattr(before, name) != getattr(question, name) for name in asked):
        raise WrongInput(f"{path} answers another question; move it away to ask this one")
    kept = tuple(trial for trial in before.trials if trial.version in question.versions)
    return msgspec.structs.replace(question, trials=kept)


def _say(trial: Trial, mark: str) -> None:
    mark = f" ({mark})" if mark else ""
    out.print(f"{trial.version}: {trial.outcome}{mark}: {trial.why}")
