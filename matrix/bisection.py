"""In which release a fault began, or ended: what was tried, and what follows. Read and written as JSON; pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal

from matrix.cells import FileName, Id, Record

Outcome = Literal["bad", "good", "untestable"]
"""`bad`: the same fault was seen; `untestable`: neither it nor its absence, so nothing is known of this release."""

FOLDER = "bisections"
"""Beside the runs of a results folder."""


class Trial(Record, frozen=True, kw_only=True):
    """One release, tried."""

    version: str
    released: dt.date | None
    """The day on which the package index got it."""
    outcome: Outcome
    why: str
    """What was seen, in a sentence."""
    runs: int = 1
    flaky: bool = False
    """True where its runs did not agree: one that shows the fault counts."""


class Bisection(Record, frozen=True, kw_only=True):
    """A search among the releases of one engine."""

    name: FileName
    """Of its file; says what was asked."""
    engine: Id
    cell_id: str
    """Whose probe was asked; of a repro, the release that it was written for."""
    probe: str | None = None
    repro: str | None = None
    """SHA-256 of the program, where one was run in the place of a probe."""
    failure: str = ""
    """The id of the failure that was looked for."""
    distribution: str
    """What the package index calls the engine."""
    build: str
    """`official`, `third-party` or `patched`, as of the release that it began with."""
    build_note: str
    """What makes the builds that were tried other than official."""
    versions: tuple[str, ...]
    """All that could be tried, from where it may be good to where it is bad."""
    mended: bool = False
    """True where the search goes for the release that mended it, so that the newest comes first."""
    trials: tuple[Trial, ...] = ()
    finished: bool = False
    harness_version: str

    @property
    def known(self) -> dict[int, Outcome]:
        """Outcomes by index into `versions`."""
        return {self.versions.index(trial.version): trial.outcome for trial in self.trials}


class Answer(Record, frozen=True, kw_only=True):
    """What the trials of a bisection say."""

    first_bad: str | None
    """The release nearest to a good one that shows the fault; None where not even the last one does."""
    last_good: str | None
    """The release beside it that does not; None where every one that could be tried shows it."""
    between: tuple[str, ...] = ()
    """Releases between the two, none of which could be tried."""
    sentence: str


def border(known: Mapping[int, Outcome]) -> tuple[int | None, int | None]:
    """The last good index, and the first bad one behind it.

    Where a fault came, went and came again, it is the last coming that counts.
    """
    low = max((index for index, outcome in known.items() if outcome == "good"), default=None)
    bad = [index for index, outcome in known.items() if outcome == "bad" and (low is None or index > low)]
    return low, min(bad, default=None)


def answer(found: Bisection) -> Answer:
    """What follows from the trials so far."""
    low, high = border(found.known)
    trials = {trial.version: trial for trial in found.trials}
    if high is None:
        last = trials.get(found.versions[-1])
        why = f": {last.why}" if last else ""
        return Answer(first_bad=None, last_good=None, sentence=f"{found.versions[-1]} does not show it{why}")
    bad = found.versions[high]
    if low is None:
        return Answer(first_bad=bad, last_good=None, sentence=_everywhere(found, bad))
    good, between = found.versions[low], found.versions[low + 1 : high]
    left_out = f"; {_listed(between)} between them could not be tried" if between else ""
    if found.mended:
        sentence = (
            f"{_dated(trials[good])} is the first without it, {_dated(trials[bad])} the last that shows it{left_out}"
        )
    else:
        sentence = (
            f"{_dated(trials[bad])} is the first that shows it, {_dated(trials[good])} the last without{left_out}"
        )
    before = [trial for trial in found.trials if trial.outcome == "bad" and found.versions.index(trial.version) < low]
    again = f"; {_listed([trial.version for trial in before])} had it too, so it came, went and came again"
    sentence += again if before else ""
    return Answer(first_bad=bad, last_good=good, between=tuple(between), sentence=sentence)


def _everywhere(found: Bisection, oldest: str) -> str:
    count = sum(trial.outcome == "bad" for trial in found.trials)
    if count == 1:
        tried = [trial.version for trial in found.trials if trial.outcome == "untestable"]
        return f"seen in {oldest}; of {len(tried)} others none could be tried" if tried else f"seen in {oldest}"
    older = found.versions[: found.versions.index(oldest)]
    untried = [trial.version for trial in found.trials if trial.outcome == "untestable" and trial.version in older]
    beyond = f"; older ones could not be tried ({_listed(untried)})" if untried else ""
    return f"in every release tried, {count} of them, back to {_dated_of(found, oldest)}{beyond}"


def _dated_of(found: Bisection, version: str) -> str:
    return _dated(next(trial for trial in found.trials if trial.version == version))


def _dated(trial: Trial) -> str:
    return f"{trial.version} ({trial.released})" if trial.released else trial.version


LISTED = 4


def _listed(versions: Sequence[str]) -> str:
    more = f" and {len(versions) - LISTED} more" if len(versions) > LISTED else ""
    return ", ".join(versions[:LISTED]) + more
