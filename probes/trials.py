"""One release, tried: its environment, a run of the cell or of a repro, and what that says of a fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from matrix.bisection import Outcome, Trial
from matrix.cells import Cell, Record
from matrix.errors import Infrastructure, ReadinessError, WrongInput
from matrix.load import Matrix
from matrix.results import RESULT_ENDING, Result, Status, read_result
from matrix.untrusted import plain, safe
from probes import bisect, tables
from probes.past import inside, measure
from probes.provenance import without_places
from runners import registry, repros
from runners.releases import Past

Alike = Callable[[Result, Result], bool]
"""Whether two failures are the same one."""

PROFILE = "bisect"
"""Of the matrix that is made for a past release: the one cell."""

GOOD_RUNS = 2
"""Of a release that does not show the fault: one that comes and goes would be missed by a single run."""

SAID = 300
"""Characters of what was seen that are kept."""


class Trier(Record, frozen=True, kw_only=True):
    """Tries one release after another in folders of their own below `work`."""

    matrix: Matrix
    cell: Cell
    work: Path
    once: Callable[[Trier, Past], Trial]
    good_runs: int = GOOD_RUNS

    def __call__(self, past: Past) -> Trial:
        """Run until the fault shows, or the release has done without it often enough."""
        seen: list[Trial] = []
        while len(seen) < self.good_runs and all(one.outcome == "good" for one in seen):
            try:
                seen.append(self.once(self, past))
            except WrongInput:
                raise
            except ReadinessError as error:
                seen.append(trial(past, "untestable", str(error)))
        return together(seen)

    def on(self, past: Past, probes: Sequence[str]) -> tuple[Matrix, Cell]:
        """The matrix of a past release, and the cell on it."""
        folder = self.folder(past) / "matrix"
        (cell,) = inside(self.matrix, [self.cell], past, folder, probes, profile=PROFILE)
        return tables.matrix(folder), cell

    def folder(self, past: Past) -> Path:
        """What is made and measured of a release."""
        return self.work / past.version


def trial(past: Past, outcome: Outcome, why: str) -> Trial:
    """What was seen, in one line."""
    said = safe(" ".join(without_places(plain(why)).split()), SAID)
    return Trial(version=past.version, released=past.released, outcome=outcome, why=said)


def together(seen: Sequence[Trial]) -> Trial:
    """What several runs of one release say: the fault, where one showed it, else that it could not be tried."""
    by_weight = sorted(seen, key=lambda one: ("bad", "untestable", "good").index(one.outcome))
    return msgspec.structs.replace(by_weight[0], runs=len(seen), flaky=len({one.outcome for one in seen}) > 1)


def by_repro(program: Path) -> Callable[[Trier, Past], Trial]:
    """By a program's exit status: 1 with the fault, 0 without, anything else neither."""
    outcomes: dict[int, Outcome] = {0: "good", 1: "bad"}

    def once(trier: Trier, past: Past) -> Trial:
        matrix, cell = trier.on(past, ["loading"])
        ran = repros.in_venv(matrix, registry.engines()[cell.release.engine], cell, program)
        return trial(past, "untestable" if ran.crashed else outcomes.get(ran.exit_code, "untestable"), ran.last_line)

    return once


def by_probe(probe: str, newest: Past, alike: Alike, launcher: str) -> Callable[[Trier, Past], Trial]:
    """By a run of the cell: the fault is there where the engine fails as it does in the newest release of the search.

    Another failure says nothing of this one, and neither does what could not be measured.
    """

    def once(trier: Trier, past: Past) -> Trial:
        result = _measured(trier, past, probe, launcher)
        status, why = result.verdict.status, f"{result.verdict.status.value}: {result.verdict.reason}"
        if status is Status.PASS:
            return trial(past, "good", why)
        if not status.blames_engine:
            return trial(past, "untestable", why)
        wanted = result if past == newest else _stored(trier, newest, probe)
        return trial(past, "bad" if alike(wanted, result) else "untestable", why)

    return once


def _measured(trier: Trier, past: Past, probe: str, launcher: str) -> Result:
    """Run the cell on a past release by the front door, as anybody would."""
    folder = trier.folder(past)
    _, cell = trier.on(past, sorted({"loading", probe}))
    measure(folder, [cell.id], folder / "results", launcher, profile=PROFILE)
    return _stored(trier, past, probe)


def _stored(trier: Trier, past: Past, probe: str) -> Result:
    """What the newest run of a release said."""
    folders = sorted((trier.folder(past) / "results").glob("*/"))
    files = sorted(folders[-1].glob(f"*/*{RESULT_ENDING}")) if folders else []
    found = bisect.telling([read_result(path) for path in files], probe)
    if found is None:
        raise Infrastructure(f"the run on {past.version} has left no result of {probe}")
    return found
