"""Our own tracker: one issue a failure, opened, kept up to date, closed and opened again, and nothing done twice.

What is to be done is computed from the reports and from the issues as they are, and the first step of it is taken; then
the same again, until there is none. So a run that was cut off is gone on with by the next one. GitHub cannot open an
issue only where there is none: of two that two runs have opened at once the lower number stays, and whoever sees both
closes the other.

What a person has decided stays decided: an issue that was closed as not planned or as a duplicate, that is labelled
`wontfix` or has lost our label is left alone; titles are never changed; a text that a person has edited keeps its
words. What a person has closed as done is opened again only where the failure was gone in between, and what a person
has opened again is closed only after the failure has come back and gone. Whoever takes the hidden line of a body away
cuts the tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matrix.errors import Infrastructure
from reports.bugs.github import Tracker
from reports.bugs.issue import Change, Issue, New
from reports.bugs.tracking import Done, Report, plan
from reports.github import Refused

__all__ = ["Done", "Report", "sync"]


def sync(tracker: Tracker, reports: Sequence[Report], *, night: str) -> Done:
    """Do what is to be done, step by step, each on what GitHub says right before it."""
    known = tracker.issues()
    taken: list[Change | New] = []
    trouble: dict[str, str] = {}
    while True:
        found = plan(reports, known.values(), night=night, me=tracker.me)
        step = next((step for step in found.steps if step.about not in trouble), None)
        if step is None:
            return Done(steps=tuple(taken), waiting=found.waiting, trouble=tuple(trouble.values()))
        try:
            if step in taken:
                raise Refused("GitHub does not keep what is written")
            now = _now(tracker, step, known)
            if now == known:
                now = _take(tracker, step, known)
                taken.append(step)
            known = now
        except Refused as error:
            trouble[step.about] = f"{step.about}: {error}"
        except Infrastructure as error:
            told = (*trouble.values(), f"{step.about}: {error}; all that follows is left for another run")
            return Done(steps=tuple(taken), waiting=found.waiting, trouble=told)


def _now(tracker: Tracker, step: Change | New, known: Mapping[int, Issue]) -> dict[int, Issue]:
    """What is known, with what the step depends on read anew: a person or another run may have been there."""
    if isinstance(step, New):
        return tracker.issues()
    now = tracker.issue(step.number)
    return {number: one for number, one in {**known, step.number: now}.items() if one.ids}


def _take(tracker: Tracker, step: Change | New, known: Mapping[int, Issue]) -> dict[int, Issue]:
    if isinstance(step, New):
        tracker.open(step)
        return tracker.issues()
    return {**known, step.number: tracker.change(step)}
