"""Like failures brought together: signatures that differ a little are one failure. Pure.

In the way of Kubernetes' triage: n-grams leave out what cannot be near, then an edit distance of a tenth of the length
decides. Beyond it, what words name (exceptions, what stands in quotes, identifiers) has to be the same: a KeyError of
one weight is another fault than that of another weight, however alike their letters are. Patterns of divergence have
no letters; `pattern.alike` compares them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from reports.bugs import pattern
from reports.bugs.signature import Signature

NEAR = 0.1
"""Edits, as a share of the longer text."""
GRAM = 3

NAMES = re.compile(
    r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`"  # what stands in quotes
    r"|\b\w*(?:Error|Exception)\b"
    r"|\b\w+(?:(?:::|[._])\w+)+"  # identifiers of code
)


def leaders(signatures: Iterable[Signature]) -> dict[str, Signature]:
    """By the id of each signature the earliest one of its cluster.

    They come in the order of time. Each joins the first cluster whose earliest member is near, else it founds one: what
    comes later never changes what came before, and chains of small steps do not join what lies far apart.
    """
    found: dict[str, Signature] = {}
    founders: dict[tuple[object, ...], list[Signature]] = {}
    for one in signatures:
        if one.id in found:
            continue
        among = founders.setdefault((one.engine, one.probe, one.kind, one.within), [])
        leader = next((founder for founder in among if near(founder, one)), None)
        if leader is None:
            among.append(leader := one)
        found[one.id] = leader
    return found


def near(one: Signature, other: Signature) -> bool:
    """Whether two signatures of one engine, probe and kind, bound to the same, are those of one failure."""
    if one.pattern is not None and other.pattern is not None:
        return pattern.alike(one.pattern, other.pattern)
    return names(one.words) == names(other.words) and near_words(one.words, other.words)


def near_words(one: str, other: str) -> bool:
    """Whether a tenth of the longer text, edited, makes it the other."""
    edits = int(NEAR * max(len(one), len(other)))
    return grams_apart(one, other) <= 2 * GRAM * edits and Levenshtein.distance(one, other, score_cutoff=edits) <= edits


def grams_apart(one: str, other: str) -> int:
    """N-grams that one text has and the other has not; an edit changes as many as its length, in each of the two."""
    ours, theirs = _grams(one), _grams(other)
    return (ours - theirs).total() + (theirs - ours).total()


def names(words: str) -> tuple[str, ...]:
    """What an error's words name, in their order."""
    return tuple(NAMES.findall(words))


def _grams(text: str) -> Counter[str]:
    return Counter(text[start : start + GRAM] for start in range(len(text) - GRAM + 1))
