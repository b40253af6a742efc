"""The time machine: cells on every release of the last months, kept as results with their release's day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from commands.options import MatrixOption, ResultsOption, SelectOption, day, out, session_options
from matrix import chronicle
from matrix.cells import HISTORY, Cell, Record, Release
from matrix.chronicle import Appearance, Chronicle, Moment, continued
from matrix.errors import Infrastructure, WrongInput
from matrix.load import Matrix, did_you_mean
from matrix.reproduction import Launcher
from matrix.results import Result, Status, read_json, write_json
from matrix.untrusted import SENTENCE, plain, safe
from probes import past, registry
from probes.provenance import without_places
from probes.session import Session
from reports import outcome, runs, store
from runners import appearances, cache, releases, signals
from runners.releases import Past

app = typer.Typer()

PROBES = ("loading", "correctness")
"""What readiness up to the level `right` stands on."""

NOT_CHOSEN = "not among those that were to be tried"


@app.command()
def history(
    since: Annotated[dt.date, typer.Option(metavar="DAY", parser=day, help="Releases from this day (UTC) on.")],
    engines: Annotated[str | None, typer.Option(metavar="NAME,…", help="Only these engines.")] = None,
    select: SelectOption = None,
    profile: Annotated[str, typer.Option("--profile", help="Whose cells are asked of each release.")] = HISTORY,
    at_most: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="So many releases of an engine, evenly spread.")
    ] = None,
    launcher: Annotated[Launcher, typer.Option(help="venv, or docker for the image of each release.")] = "venv",
    workers: Annotated[int, typer.Option("-n", "--workers", min=1, help="Cells at once.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the environments of past releases in the cache.")] = False,
    matrix: MatrixOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Run cells on the releases that engines made since a day, so that the grid knows what was before its first night.

    The releases and their days come from the package index; each gets an environment of its own, resolved as of its
    day. What was measured already is not measured again, so a run that was stopped goes on where it was. Exit status
    3 where a release could not be tried; RESULTS/chronicles says which, and why.
    """
    signals.terminate_like_interrupt()
    session = Session(session_options(matrix, profile, select))
    chosen = _by_engine(session, engines)
    journey = Journey(
        matrix=session.matrix, since=since, at_most=at_most, results=results.resolve(), launcher=launcher,
        workers=workers, keep=keep,
    )  # fmt: skip
    journey.note_appearances({cell.model.architecture for cells in chosen.values() for cell in cells})
    untried = [moment for cells in chosen.values() for moment in journey.through(cells)]
    raise SystemExit(outcome.NOT_MEASURED if untried else outcome.OK)


def _by_engine(session: Session, named: str | None) -> dict[str, list[Cell]]:
    """The cells of each engine on the newest of its stable releases, in the order of the tables."""
    found: dict[str, dict[str, list[Cell]]] = {}
    for planned in session.plan:
        release = planned.cell.release
        if planned.excluded is None and release.channel == "stable":
            found.setdefault(release.engine, {}).setdefault(release.id, []).append(planned.cell)
    newest = {
        engine: max(by_release.values(), key=lambda cells: cells[0].release.released or dt.date.min)
        for engine, by_release in found.items()
    }
    names = list(newest) if named is None else named.split(",")
    for name in names:
        if name not in newest:
            raise WrongInput(f"--engines: no {name!r} among these cells{did_you_mean(name, list(newest))}")
    return {name: newest[name] for name in names}


class Journey(Record, frozen=True, kw_only=True):
    """What is asked of every engine's releases."""

    matrix: Matrix
    since: dt.date
    at_most: int | None
    results: Path
    launcher: Launcher
    workers: int
    keep: bool

    def through(self, cells: Sequence[Cell]) -> list[Moment]:
        """Ask cells of one engine on each of its releases, the newest first; those that were chosen and not tried."""
        frame = _published(self.matrix, cells[0].release, self.since)
        chosen = {one.version for one in past.spread(frame.pasts, self.at_most)}
        moments: dict[str, Moment] = {}
        for one in reversed(frame.pasts):
            why = self._why_not(cells, one) if one.version in chosen else NOT_CHOSEN
            moments[one.version] = Moment(release=f"{frame.engine}-{one.version}", released=one.released, untried=why)
            self._write(frame, moments)
        return [one for one in moments.values() if one.untried not in ("", NOT_CHOSEN)]

    def note_appearances(self, architectures: Collection[str]) -> None:
        """Write down in which release of transformers each class first came, where that is not known yet."""
        path = self.results / chronicle.FOLDER / chronicle.APPEARANCES
        known = read_json(path, list[Appearance]) if path.is_file() else []
        lacking = set(architectures) - {one.architecture for one in known}
        if lacking:
            out.print(f"looking for the first {appearances.DISTRIBUTION} release with each of {len(lacking)} classes")
            ordered = sorted([*known, *appearances.first(lacking)], key=lambda one: (one.released, one.architecture))
            write_json(path, ordered)

    def _why_not(self, cells: Sequence[Cell], one: Past) -> str:
        """Measure what is not known yet; why nothing could be measured, or nothing where it could."""
        name = f"{cells[0].release.engine}-{one.version}"
        folder = self.results / chronicle.FOLDER / name
        try:
            inside = past.inside(self.matrix, cells, one, folder / "matrix", PROBES)
            asked = {cell.id for cell in inside}
            todo = asked - self._known(asked)
            out.print(f"{name} ({one.released}): {len(todo)} of {len(inside)} cells to ask")
            if todo:
                past.measure(folder, todo, self.results, self.launcher, self.workers)
            return "" if self._known(asked) else self._why_nothing(asked)
        except Infrastructure as error:
            out.print(f"{name} ({one.released}): {error}")
            return safe(" ".join(without_places(plain(str(error))).split()), SENTENCE)
        finally:
            if not self.keep and name not in self.matrix.releases:
                cache.forget("environments", name)

    def _known(self, cells: Collection[str]) -> set[str]:
        """Cells that the probes of today have been asked of."""
        versions = {name: probe.version for name, probe in registry.probes().items()}
        current = [one for one in self._results(cells) if one.probe_version == versions.get(one.probe)]
        return runs.answered(current, PROBES)

    def _why_nothing(self, cells: Collection[str]) -> str:
        """What was in the way of a release of which no cell has answered."""
        said = [one.verdict.reason for one in self._results(cells) if one.verdict.status is Status.ERROR]
        return said[-1] if said else "nothing was measured"

    def _results(self, cells: Collection[str]) -> list[Result]:
        with store.opened(self.results) as found:
            marks = ", ".join("?" * len(cells))
            return found.results(f"cell_id IN ({marks})", sorted(cells))

    def _write(self, frame: Frame, moments: Mapping[str, Moment]) -> None:
        ordered = sorted(moments.values(), key=lambda one: (one.released, one.release))
        new = Chronicle(
            engine=frame.engine, distribution=frame.distribution, dated_by=frame.dated_by, since=self.since,
            until=dt.datetime.now(dt.UTC).date(), moments=tuple(ordered),
        )  # fmt: skip
        path = self.results / chronicle.FOLDER / new.file
        known = read_json(path, Chronicle) if path.is_file() else None
        write_json(path, continued(known, new))


class Frame(Record, frozen=True, kw_only=True):
    """The releases of an engine since a day, by the engine's own days."""

    engine: str
    distribution: str
    dated_by: str
    pasts: tuple[Past, ...]


def _published(matrix: Matrix, release: Release, since: dt.date) -> Frame:
    name = releases.distribution(release, matrix.folder)
    dated_by = release.dated_by or name
    pasts = releases.published(name)
    if dated_by != name:
        days = {one.version: one.released for one in releases.published(dated_by)}
        pasts = [msgspec.structs.replace(one, released=days.get(one.version, one.released)) for one in pasts]
    found = past.since(pasts, since, release.version)
    if not found:
        raise WrongInput(f"--since {since}: the package index has no release of {name} from that day on")
    return Frame(engine=release.engine, distribution=name, dated_by=dated_by, pasts=tuple(found))
