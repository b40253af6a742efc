"""The benchmark of signatures: its data, its scores, and its page."""

from __future__ import annotations

import datetime as dt

import pytest

from reports.bugs.signature import Signature
from tests.benchmarks.bugs import __main__ as bench
from tests.benchmarks.bugs import cases, page, scores
from tests.benchmarks.bugs.cases import Case


def known(cause: str, words: str) -> Case:
    signature = Signature(engine="alpha", probe="loading", kind="crash", within=(), words=words)
    return Case(cause=cause, source="here", known=signature)


def test_scores_count_what_is_mixed_and_what_is_split() -> None:
    """By hand: two of one cause together with one of another, and one apart."""
    found = scores.score(
        [known("a", "KeyError: x"), known("a", "KeyError: x"), known("b", "KeyError: x"), known("b", "OSError: y")],
        scores.ours,
    )
    assert (found.cases, found.causes, found.clusters) == (4, 2, 2)
    assert found.precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert found.recall == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert found.pair_precision == pytest.approx(1 / 3)
    assert found.pair_recall == pytest.approx(1 / 2)
    assert (found.mixed, found.split) == ((("a", "b"),), (("b", 2),))


def test_every_public_error_has_a_report_and_every_result_of_ours_a_row() -> None:
    """Sources are issues or rows; each text has a cause of its engine."""
    public = cases.public()
    assert all("#" in one.source or one.source.startswith("docs/engine-faults.md ") for one in public)
    assert {one.set for one in public} == set(cases.SETS)
    assert len(cases.own()) > 50
    assert {one.known.kind for one in cases.own()} == {"crash", "unknown", "wrong"}


def test_the_sets_of_words_meet_what_the_page_promises() -> None:
    """Whoever changes the rules sees here what it costs; the page tells the rest."""
    found = {name: scores.score(of, scores.ours) for name, of in bench.sets().items()}
    for name in ("simulated nights", "simulated nights, another draw", "our own runs, words"):
        assert (found[name].precision, found[name].recall) == (1.0, 1.0), name
    assert found["public errors, all"].precision > 0.97
    assert found["public errors, all"].recall > page.GOAL
    assert found["our own runs, patterns"].precision == 1.0
    assert found["our own runs, patterns"].recall > 0.75


def test_a_page_names_what_misses_the_goal() -> None:
    """As measured, met or not."""
    mixed = {"a set": [known("a", "KeyError: x"), known("b", "KeyError: x")]}
    text = page.document(mixed, dt.date(2026, 12, 1))
    assert "**The goal of 98% is met but for** a set: precision 50.0%." in text
    assert "- a set: one cluster holds *a* and *b*." in text
    assert "**The goal of 98% is met on every set.**" in page.document(
        {"a set": mixed["a set"][:1]}, dt.date(2026, 12, 1)
    )
