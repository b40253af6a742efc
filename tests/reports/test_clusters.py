"""Which signatures are one failure: near in their letters, and the same in what they name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some
from rapidfuzz.distance import Levenshtein

from reports.bugs import clusters
from reports.bugs.signature import Signature


def crash(words: str, engine: str = "alpha", probe: str = "loading", within: tuple[str, ...] = ()) -> Signature:
    return Signature(engine=engine, probe=probe, kind="crash", within=within, words=words)


LONG = "RuntimeError: the projection of the shared expert must be given in the layout of the checkpoint"


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        (LONG, LONG.replace("must be", "has to be"), True),
        (LONG, LONG.replace("the shared expert", "every routed expert of a layer"), False),
        (LONG, LONG.replace("RuntimeError", "ValueError"), False),
        ("KeyError: 'model.layers.N.mlp.experts.w13'", "KeyError: 'model.layers.N.mlp.experts.w2'", False),
        ("KeyError: 'lm_head.weight'", "KeyError: 'lm_head.weights'", False),
        ("unsupported types for %: 'list' and 'int'", "unsupported types for %: 'int' and 'list'", False),
        ("assert self.scoring_func == \"softmax\"", "assert self.scoring_func == \"sigmoid\"", False),
        ("the engine can't load what isn't there", "the engine can't load what is not there", True),
    ],
)  # fmt: skip
def test_a_tenth_may_differ_but_no_name(one: str, other: str, near: bool) -> None:
    """Exceptions, quoted words and identifiers are names; an apostrophe is no quote."""
    assert clusters.near(crash(one), crash(other)) is near
    assert clusters.near(crash(other), crash(one)) is near


@given(some.text("ab cd", max_size=60), some.text("ab cd", max_size=60))
def test_n_grams_leave_out_nothing_that_is_near(one: str, other: str) -> None:
    """The filter is cheaper than the distance, and never stricter."""
    edits = int(clusters.NEAR * max(len(one), len(other)))
    assert clusters.near_words(one, other) is (Levenshtein.distance(one, other) <= edits)


def test_only_what_is_of_one_engine_probe_and_bound_to_the_same_is_compared() -> None:
    """The same words elsewhere are another failure."""
    found = [crash(LONG), crash(LONG, engine="beta"), crash(LONG, probe="state"), crash(LONG, within=("Elm", "cpu"))]
    assert len({leader.id for leader in clusters.leaders(found).values()}) == 4


def test_a_failure_keeps_its_id_when_more_comes() -> None:
    """Each joins the first founder that is near; what came before does not move."""
    words = [LONG, LONG + ", please", LONG + ", please, always", "OSError: something else altogether"]
    every = clusters.leaders(map(crash, words))
    assert [every[crash(one).id].words for one in words] == [LONG, LONG, words[2], words[3]]
    for count in range(len(words)):
        before = clusters.leaders(map(crash, words[:count]))
        assert {name: leader.id for name, leader in before.items()} == {name: every[name].id for name in before}


def test_the_same_order_gives_the_same_clusters() -> None:
    """Nothing depends on the order of sets or of dictionaries."""
    words = [LONG[:40] + chr(97 + i) * i for i in range(12)] * 3
    random.Random(0).shuffle(words)
    assert clusters.leaders(map(crash, words)) == clusters.leaders(map(crash, list(words)))
