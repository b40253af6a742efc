"""How well clusters agree with causes: B-cubed and pairwise precision and recall, and what is mixed or split. Pure.

B-cubed (Bagga and Baldwin, 1998) asks of every result how many of those in its cluster share its cause, and how many
that share its cause are in its cluster, and takes the mean: each result counts once. Of pairs one cause with hundreds
of results is nearly all there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import comb

from matrix.cells import Record
from reports.bugs import clusters
from reports.bugs.signature import Signature
from tests.benchmarks.bugs.cases import Case

Rule = Callable[[Sequence[Signature]], list[str]]
"""The name of a cluster for each signature, in the order of time."""


class Score(Record, frozen=True, kw_only=True):
    """Of one rule on some cases."""

    cases: int
    causes: int
    clusters: int
    precision: float
    recall: float
    pair_precision: float
    pair_recall: float
    mixed: tuple[tuple[str, ...], ...]
    """The causes of each cluster that has more than one."""
    split: tuple[tuple[str, int], ...]
    """The causes that are in more than one cluster, and in how many."""


def ours(signatures: Sequence[Signature]) -> list[str]:
    """As failures are told."""
    leading = clusters.leaders(signatures)
    return [leading[one.id].id for one in signatures]


def ids_alone(signatures: Sequence[Signature]) -> list[str]:
    """Without bringing any together."""
    return [one.id for one in signatures]


def letters_alone(signatures: Sequence[Signature]) -> list[str]:
    """By a tenth of the letters within an engine and a probe, as it is done where nothing else is known."""
    founders: dict[tuple[str, str], list[str]] = {}
    found = []
    for one in signatures:
        among = founders.setdefault((one.engine, one.probe), [])
        leader = next((words for words in among if clusters.near_words(words, one.words)), None)
        if leader is None:
            among.append(leader := one.words)
        found.append(f"{one.engine} {one.probe} {leader}")
    return found


RULES: dict[str, Rule] = {
    "ours": ours,
    "equal signatures alone": ids_alone,
    "a tenth of the letters alone": letters_alone,
}


def score(cases: Sequence[Case], rule: Rule) -> Score:
    """What a rule makes of some cases."""
    names = rule([case.known for case in cases])
    together = Counter(zip((case.cause for case in cases), names, strict=True))
    of_cause, of_cluster = Counter(case.cause for case in cases), Counter(names)
    right = sum(comb(count, 2) for count in together.values())
    causes_of, clusters_of = _sides(together)
    return Score(
        cases=len(cases),
        causes=len(of_cause),
        clusters=len(of_cluster),
        precision=sum(n * n / of_cluster[name] for (_, name), n in together.items()) / len(cases),
        recall=sum(n * n / of_cause[cause] for (cause, _), n in together.items()) / len(cases),
        pair_precision=_share(right, sum(comb(count, 2) for count in of_cluster.values())),
        pair_recall=_share(right, sum(comb(count, 2) for count in of_cause.values())),
        mixed=tuple(tuple(causes) for causes in causes_of.values() if len(causes) > 1),
        split=tuple((cause, len(found)) for cause, found in clusters_of.items() if len(found) > 1),
    )


def _sides(together: Counter[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    causes_of: dict[str, list[str]] = {}
    clusters_of: dict[str, list[str]] = {}
    for cause, name in together:
        causes_of.setdefault(name, []).append(cause)
        clusters_of.setdefault(cause, []).append(name)
    return causes_of, clusters_of


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
