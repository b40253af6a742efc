"""Drafts of bug reports, made of evidence and fixed sentences. Nothing is sent anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from matrix.results import Result
from reports import templating
from reports.bugs.failures import Failure
from reports.bugs.failures import failures as every_failure
from reports.store import Store


def failures(store: Store) -> list[Failure]:
    """Those that stand."""
    return [failure for failure in every_failure(store) if failure.standing]


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
