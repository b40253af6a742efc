"""When two failures are the same one: an id that outlives nights, machines and numbers. Pure."""

from __future__ import annotations

import hashlib
import re

from matrix.results import Result, Status

DEGREES = ("correctness",)
"""Probes whose sentence, once they measured, tells degrees, which differ from night to night under the same fault."""

VOLATILE = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+"), "URL"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"), "TIME"),
    (re.compile(r"(?<![\w.])~?(?:/[\w.+@-]+)+/?"), "PATH"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "HEX"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b"), "HEX"),
    (re.compile(r"(?<!\w)[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), "N"),
    (re.compile(r"\bN(?:\s*[x×,]\s*N)+"), "N"),
    (re.compile(r"\s+"), " "),
)
"""What is taken out of an error's words, in this order, and what stands for it."""


def normalised(text: str) -> str:
    """An error's words without what changes from run to run; doing it twice changes nothing more."""
    for pattern, stand_in in VOLATILE:
        text = pattern.sub(stand_in, text)
    return text.strip()


def failure_id(result: Result) -> str:
    """`engine-probe-` and twelve hexadecimal digits.

    A crash is known by its words alone, whatever the model. A judged failure is that of an architecture on a kind of
    device, and known by its sentence only where that names no degree. The release does not count: a fault that
    outlives a release is the same fault.
    """
    cell, verdict = result.cell, result.verdict
    words = [cell.release.engine, result.probe]
    if verdict.status is Status.CRASH:
        words += ["crash", normalised(verdict.reason)]
    elif result.probe in DEGREES and verdict.numbers:
        words += ["wrong", cell.model.architecture, cell.device.kind]
    else:
        words += [verdict.status.value, cell.model.architecture, cell.device.kind, normalised(verdict.reason)]
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()
    return f"{cell.release.engine}-{result.probe}-{digest[:12]}"
