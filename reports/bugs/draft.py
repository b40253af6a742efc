"""Drafts of bug reports, made of evidence and fixed sentences. Nothing is sent anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from matrix.cells import Record
from matrix.results import Result, Status
from reports import templating
from reports.bugs.signature import failure_id
from reports.store import Store

SEEN_TWICE = 2
"""Runs in a row, each with a server of its own, in which a failure must show the same id."""


class Failure(Record, frozen=True, kw_only=True):
    """One failure, in all cells that show it now."""

    id: str
    confirmed: bool
    latest: tuple[Result, ...]
    """The newest result of each cell that shows it."""
    first_seen: Result
    """The earliest result with this id."""


SETTLING = [status.value for status in Status if status.settles]
BLAMING = [status.value for status in Status if status.blames_engine]
EVER_FAILED = (
    f"status IN ({', '.join('?' * len(SETTLING))}) AND (cell_id, probe) IN"
    f" (SELECT (cell_id, probe) FROM results WHERE status IN ({', '.join('?' * len(BLAMING))}))"
)
"""What was decided of the places that have ever blamed an engine, in SQL."""


def failures(store: Store) -> list[Failure]:
    """Every unexpected failure of an engine that stands today, by id.

    It is confirmed where the two newest decided results of one cell both show it: one alone may be a bad night. Doubt
    about the reference ends it: nobody is told of a fault that may be ours.
    """
    decided = store.results(EVER_FAILED, [*SETTLING, *BLAMING])
    histories: dict[tuple[str, str], list[Result]] = {}
    for result in decided:
        histories.setdefault((result.cell_id, result.probe), []).append(result)
    found: dict[str, list[list[Result]]] = {}
    for history in histories.values():
        newest = history[-1].verdict
        if newest.status.blames_engine and newest.unexpected:
            found.setdefault(failure_id(history[-1]), []).append(history)
    return [_failure(name, found[name], decided) for name in sorted(found)]


def _failure(name: str, shown: Sequence[list[Result]], decided: Sequence[Result]) -> Failure:
    return Failure(
        id=name,
        confirmed=any(_repeated(history, name) for history in shown),
        latest=tuple(history[-1] for history in shown),
        first_seen=next(result for result in decided if _shows(result, name)),
    )


def _repeated(history: Sequence[Result], name: str) -> bool:
    last = history[-SEEN_TWICE:]
    return len(last) == SEEN_TWICE and all(_shows(result, name) for result in last)


def _shows(result: Result, name: str) -> bool:
    return result.verdict.status.blames_engine and failure_id(result) == name


def draft(failure: Failure, log_tail: str) -> str:
    """The report as Markdown, told by the newest result of its first cell; `log_tail` is of that cell."""
    result = failure.latest[0]
    environment = templating.environment(autoescape=False)
    environment.filters |= {"block": _block, "day": _day}
    return environment.get_template("draft.md.j2").render(
        failure=failure,
        result=result,
        verdict=result.verdict,
        expected=EXPECTED.get(result.probe, "PASS of this probe."),
        log_tail=log_tail,
    )


EXPECTED = {
    "loading": "The server becomes ready offline with every tensor of the checkpoint, answers, and is healthy then.",
    "correctness": "Logprobs, or greedily chosen tokens, as close to the float32 reference as the rounding of the "
    "model's own dtype explains.",
    "throughput": "Every stream ends by itself and holds exactly the tokens that were asked for.",
}
"""What a PASS would have been, by probe."""


def _day(result: Result) -> str:
    return f"{result.provenance.started_at:%Y-%m-%d}"


def _block(text: str) -> str:
    """A fenced block that the text cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.strip()}\n{fence}"


def summary(found: Sequence[Failure]) -> str:
    """All failures in a table, those that wait for a second run among them."""
    if not found:
        return "## Failures\n\nNo engine fails unexpectedly.\n"
    rows = [
        f"| `{failure.id}` | {'drafted' if failure.confirmed else 'seen once, waits for a second run'} "
        f"| {', '.join(f'`{result.cell_id}`' for result in failure.latest)} | {_day(failure.first_seen)} |"
        for failure in found
    ]
    head = ["## Failures", "", "| id | state | cells | first seen |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])
