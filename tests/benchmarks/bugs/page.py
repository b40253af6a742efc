"""The page: docs/signatures.md."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.bugs import scores
from tests.benchmarks.bugs.cases import Case
from tests.benchmarks.bugs.scores import RULES, Score
from tests.benchmarks.verdict.words import share, table

GOAL = 0.98
OURS = "ours"

FIRST_MEASURED = {
    "public errors, first set": (1.0, 0.925),
    "public errors, second set": (0.939, 0.965),
    "public errors, third set": (0.953, 1.0),
    "our own runs, patterns": (1.0, 0.748),
}
"""Precision and recall before what was measured on a set had changed a rule."""

METHOD = f"""\
Each failing result has a signature (`reports/bugs/signature.py`); signatures that are near each other are one failure
(`reports/bugs/clusters.py`). Here failing results whose causes are known are brought together by these rules, and what
comes of it is compared with the causes. Precision and recall are B-cubed: of each result, how many of those in its
cluster share its cause, and how many that share its cause are in its cluster; the mean over results. A pair counts
the larger a cause is the more, and of the simulated pairs one cause has most, so pairs are given beside it. The goal is
{GOAL:.0%} each.

Beside ours stand two simpler rules: signatures that are equal, and a tenth of the letters edited within one engine and
probe, which is what triage by text alone does."""

SETS = """\
- *Simulated*: sixty nights of `tests/reports/nights.py`, twelve causes that spread, flake, are mended and return, with
  words and numbers that move. Two draws; the rules were made with the first in view.
- *Public errors*: fragments of errors from public reports, each with its number, in
  `tests/benchmarks/bugs/real_errors.toml`; behind each, what a second run would have written with other numbers, paths
  or models. Whether two reports have one cause was judged from what they say. The first set was read while the rules
  were made, the second after that, the third after the second had changed them.
- *Our own runs*: failing results of engines on tiny checkpoints, those of float32 twice, for what confirmed them was a
  second run on other sequences; causes by the rows of `docs/engine-faults.md` (`own_faults.toml`). Read while the rules
  were made. Row 20 names two places in the code, and counts as two causes."""

TUNED = """\
The limits of patterns (half and a quarter of the worst stratum, one power of ten) were set with our own runs in view,
before any score; a tenth of the letters is what others use. Neither was moved. With the first public set and our own
runs in view it was decided that names have to be equal, that what torch and Python say is known by its place, and what
is bound to a family and a device. Each set, once it was measured, changed something:

- the first, that the places of C++ assertions are cut off, whatever the path;
- the second, that an architecture's name is taken out whole, that advice of Python is cut off, and that words which end
  with a colon are symptoms;
- the third, that Triton's lack of resources counts among what is said beneath an engine;
- our own runs, that a family has no experts in its name.

So the third set alone says what to expect of errors that nobody has seen, and only as it was first measured:"""

LIMITS = """\
An architecture that is not known is a cause by itself, for each has to be added: two of them are never one failure.
Words that are equal letter by letter, of one family, are one failure, whatever their causes. A message that a release
words anew altogether is a new failure. Patterns of divergence are never brought together across families: *wrong from
the first position on* is what most faults look like, and several would have become one in our own runs alone.
That costs recall, each time a fault of shared code shows in several families: it is told once for each. A result of the
protocol that breaks two checks in one night and one in another is two failures."""


def document(sets: Mapping[str, Sequence[Case]], day: dt.date) -> str:
    """The whole page."""
    return "\n\n".join(_parts(sets, day)) + "\n"


def _parts(sets: Mapping[str, Sequence[Case]], day: dt.date) -> Iterator[str]:
    found = {name: scores.score(cases, RULES[OURS]) for name, cases in sets.items()}
    yield "# Signatures: when two failures are one"
    yield f"Written by `make bench-bugs` on {day}. Do not edit."
    yield METHOD
    yield _goal(found)
    yield "## What was measured"
    yield SETS
    yield table(HEAD, [_row(name, rule, cases) for name, cases in sets.items() for rule in RULES])
    yield _nearness(sets, found)
    yield "## What was wrong"
    yield "\n".join(_wrong(found)) or "Nothing."
    yield "## What was tuned on what"
    yield TUNED
    rows = [[name, *map(share, measured)] for name, measured in FIRST_MEASURED.items()]
    yield table(("set", "precision", "recall"), rows)
    yield "## What it cannot tell"
    yield LIMITS


HEAD = ("set", "rule", "results", "causes", "clusters", "precision", "recall", "of pairs: precision", "recall")


def _row(name: str, rule: str, cases: Sequence[Case]) -> list[str]:
    one = scores.score(cases, RULES[rule])
    counts = (one.cases, one.causes, one.clusters)
    return [
        name,
        rule,
        *map(str, counts),
        *map(share, (one.precision, one.recall, one.pair_precision, one.pair_recall)),
    ]


def _goal(found: Mapping[str, Score]) -> str:
    missed = [
        f"{name}: {what} {share(value)}"
        for name, one in found.items()
        for what, value in (("precision", one.precision), ("recall", one.recall))
        if value < GOAL
    ]
    if not missed:
        return f"**The goal of {GOAL:.0%} is met on every set.**"
    return f"**The goal of {GOAL:.0%} is met but for** {'; '.join(missed)}."


def _nearness(sets: Mapping[str, Sequence[Case]], found: Mapping[str, Score]) -> str:
    """Where more is brought together than what is equal."""
    more = [name for name in sets if scores.score(sets[name], scores.ids_alone).clusters != found[name].clusters]
    told = "; ".join(more) if more else "no set"
    return f"Signatures that are near and not equal were brought together in: {told}."


def _wrong(found: Mapping[str, Score]) -> Iterator[str]:
    for name, one in found.items():
        for causes in one.mixed:
            yield f"- {name}: one cluster holds {' and '.join(f'*{cause}*' for cause in causes)}."
        for cause, count in one.split:
            yield f"- {name}: *{cause}* is in {count} clusters."
