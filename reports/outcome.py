"""The exit status of a run, from its results alone."""

from __future__ import annotations

from collections.abc import Sequence

from matrix.results import Result, Status

OK, UNEXPECTED, WRONG_INPUT, NOT_MEASURED = 0, 1, 2, 3

INTERRUPTED = 130
"""What a shell gives a program that Ctrl-C ended: 128 and the signal's number."""


def exit_status(results: Sequence[Result]) -> int:
    """3: at least one ERROR, or nothing decided; 1: the engine's fault unforeseen, or a foreseen one gone; else 0."""
    verdicts = [result.verdict for result in results]
    if any(verdict.status is Status.ERROR for verdict in verdicts):
        return NOT_MEASURED
    if not any(verdict.status.decided for verdict in verdicts):
        return NOT_MEASURED
    return UNEXPECTED if any(verdict.unexpected for verdict in verdicts) else OK
