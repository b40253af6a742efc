"""The benchmark of the verdict: other rules by hand, bounds by table, units by count, the page from what was judged."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import numpy as np
import pytest

from matrix.results import write_measurement
from probes import correctness, noise_floor
from probes.noise_floor import Decision, TokenLogprobs
from tests.benchmarks.verdict import engines, page, pictures, power, rules, scores, units
from tests.benchmarks.verdict.judging import JudgedModel, JudgedRun, Unit
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, bench, launched

MADE_AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def run(ids: list[list[int]], logs: list[list[float]], targets: list[float] | None = None) -> TokenLogprobs:
    """One sequence: the ids listed at each position, with their logprobs."""
    return TokenLogprobs(
        target_logprobs=np.array([targets or [row[0] for row in logs]]),
        top_ids=np.array([ids]),
        top_logprobs=np.array([logs]),
    )


# --- other rules ------------------------------------------------------------------------------------------

FIVE = [[1, 2, 3, 4, 5]] * 2
LOGS = [[-1.0, -1.1, -2.0, -3.0, -4.0]] * 2


@pytest.mark.parametrize(
    ("theirs", "value"),
    [
        (FIVE, 0.0),
        ([[2, 1, 3, 4, 5], FIVE[1]], 0.0),  # another first token, and each is in the other's list
        ([[6, 1, 2, 3, 4], FIVE[1]], 1.0),  # theirs is not in ours
        ([[2, 1, 3, 4, 5], [6, 7, 8, 9, 10]], 0.0),  # only the first mismatch counts
    ],
)
def test_vllm_looks_at_the_first_mismatch_alone(theirs: list[list[int]], value: float) -> None:
    """Either token outside the other's five, at the first position where they differ."""
    assert rules.check_logprobs_close(run(FIVE, LOGS), run(theirs, LOGS)).tolist() == [value]


def test_sglang_compares_sorted_logprobs_whatever_their_ids() -> None:
    """The largest difference of the sorted five; ids that changed places make none."""
    theirs = run([[2, 1, 3, 4, 5], FIVE[1]], [[-1.0, -1.1, -2.0, -3.0, -4.25], LOGS[1]])
    assert rules.top_logprob_difference(run(FIVE, LOGS), theirs).tolist() == [0.25]


def test_rouge_l_is_of_the_longest_common_subsequence() -> None:
    """1 2 3 4 and 1 3 4 5 share 1 3 4: three of four."""
    one, other = (run([[i] for i in ids], [[-1.0]] * 4) for ids in ([1, 2, 3, 4], [1, 3, 4, 5]))
    assert rules.one_less_rouge_l(one, other).tolist() == [0.25]


def test_nmse_is_of_the_last_position_over_either_list() -> None:
    """Ours -1 and -3, theirs -1 and, for an id of its own, -2: over three ids, each absent one at the least listed."""
    one, other = run([[9, 8], [1, 2]], [[0.0, -9.0], [-1.0, -3.0]]), run([[7, 6], [1, 3]], [[0.0, -1.0], [-1.0, -2.0]])
    ours, theirs = np.array([-1.0, -3.0, -3.0]), np.array([-1.0, -2.0, -2.0])
    assert rules.last_token_nmse(one, other) == pytest.approx([((ours - theirs) ** 2).mean() / ours.var()])


def test_k3_is_of_the_trainer_over_the_engine() -> None:
    """r = ln p - ln q: twice as likely to the reference as to the engine gives 2 - ln 2 - 1."""
    one, other = run([[1]], [[-1.0]], [math.log(0.5)]), run([[1]], [[-1.0]], [math.log(0.25)])
    assert rules.mismatch_kl(one, other) == pytest.approx([1 - math.log(2)])


def test_padding_is_looked_at_nowhere() -> None:
    """A position without a token changes no statistic, whatever stands there."""
    one = run([*FIVE, FIVE[0]], [*LOGS, LOGS[0]], [-1.0, -1.0, math.nan])
    other = run([*FIVE, [9, 8, 7, 6, 10]], [*LOGS, [0.0, -7.0, -8.0, -9.0, -9.5]], [-1.0, -1.0, -30.0])
    assert {name: values.tolist() for name, values in rules.statistics(one, other).items()} == {
        rule.name: [0.0] for rule in rules.RULES
    }


def test_published_thresholds_reject_what_they_do_not_pass() -> None:
    """NMSE and k3 pass below their thresholds; a text that differs is rejected, and SGLang's two are one test."""
    values = {rule.name: 0.0 for rule in rules.RULES} | {"llama.cpp NMSE": 0.0099, "prime-rl mismatch_kl": 0.015}
    assert rules.published(values) == {
        "vLLM check_logprobs_close": False, "SGLang tolerance": False, "SGLang ROUGE-L": False,
        "llama.cpp NMSE": False, "prime-rl mismatch_kl": True, "SGLang, both": False,
    }  # fmt: skip
    assert rules.published(values | {"SGLang ROUGE-L": 0.001})["SGLang, both"]


# --- units ------------------------------------------------------------------------------------------------


def test_healthy_sets_share_no_sequence() -> None:
    """256 sequences give 16 sets of 16, and each sequence is in one of them."""
    sets = units.disjoint(256, 16)
    assert len(sets) == 16
    assert sorted(row for rows in sets for row in rows) == list(range(256))


@pytest.mark.parametrize(("count", "size", "sets"), [(128, 16, 40), (128, 64, 10), (64, 64, 1), (32, 64, 0), (4, 3, 4)])
def test_drawn_sets_are_distinct_and_the_same_at_every_call(count: int, size: int, sets: int) -> None:
    """No set twice, no sequence twice in a set; all that there are where there are no more."""
    found = units.drawn(count, size)
    assert found == units.drawn(count, size)
    assert len(found) == len(set(found)) == sets
    assert all(len(set(rows)) == size and max(rows) < count for rows in found)


def test_a_further_look_keeps_what_was_seen() -> None:
    """A look goes on with the next sequences, behind the last with the first."""
    found = units.looks(64, 16)
    assert [first[0] for first, _, _ in found] == [0, 16, 32, 48]
    assert found[3][1] == (*range(48, 64), *range(16))
    assert all(set(one) < set(two) < set(three) for one, two, three in found)


# --- bounds and curves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "total", "bound"), [(0, 1000, 0.0030), (0, 60, 0.0487), (1, 1000, 0.0047), (3, 3, 1)]
)
def test_the_exact_bound(count: int, total: int, bound: float) -> None:
    """Clopper and Pearson's, one-sided at 95%: 0 of n gives 1 - 0.05^(1/n)."""
    assert power.clopper_pearson(count, total) == pytest.approx(bound, abs=5e-5)


def unit(decision: Decision, tolerance: float, rows: tuple[int, ...] = (0, 1)) -> Unit:
    return Unit(
        rows=rows, decision=decision, ratio=tolerance, ratio_d=1.0, blamed=(), dropped=(), tolerance=tolerance,
        level=tolerance, statistics={rule.name: 1.0 for rule in rules.RULES},
    )  # fmt: skip


def judged_run(name: str, kind: str, *found: Unit, looks: tuple[tuple[Decision, ...], ...] = ()) -> JudgedRun:
    return JudgedRun(
        name=name, kind=kind, sequences=4, ratio=max(one.ratio for one in found), ratio_d=1.0, limit_good=1.25,
        limit_fail=3.75, units=found, compared=found, looks=looks,
    )  # fmt: skip


MODEL = JudgedModel(
    name="tiny", sequences=4, length=8, metadata={"transformers": "5"}, int8_ratio=3.0,
    healthy=(
        judged_run("0", "", unit("PASS", 0.9), unit("PASS", 1.0, (2, 3)), looks=(("PASS",), ("UNDECIDED", "PASS"))),
        judged_run("1", "", unit("UNDECIDED", 1.1), unit("PASS", 0.8, (2, 3)), looks=(("PASS",), ("PASS",))),
    ),
    faulty=(
        judged_run("scale x 2", "scale", unit("FAIL", 5.0), unit("DEGRADED", 2.0, (1, 3))),
        judged_run("scale x 1.01", "scale", unit("UNDECIDED", 1.05), unit("PASS", 0.7, (1, 3))),
    ),
)  # fmt: skip


def test_a_curve_gives_the_most_at_no_more_false_alarms() -> None:
    """Healthy scores 1.1, 1.0, 0.9, 0.8: with none of them accused, both sets of the large fault are found."""
    above = np.array([True, False])
    curve = power.curve(power.OURS, 2, MODEL.healthy, MODEL.faulty, above)
    assert [(p.false_alarms, p.every, p.above) for p in curve.points] == [
        (0.0, 0.5, 1.0), (0.25, 0.75, 1.0), (0.5, 0.75, 1.0), (0.75, 0.75, 1.0), (1.0, 1.0, 1.0),
    ]  # fmt: skip
    assert curve.at(0.3) == curve.points[1]


def test_equal_scores_are_not_told_apart() -> None:
    """A rule that says the same of all units detects nothing without accusing everybody."""
    curve = power.curve("llama.cpp NMSE", 2, MODEL.healthy, MODEL.faulty, np.array([True, False]))
    assert [point.every for point in curve.points] == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_a_model_is_summed_up() -> None:
    """Verdicts of healthy units by count, looks by what they came to, faults by size, floor by g."""
    found = power.summed("tiny", [MODEL])
    assert (found.clean[0].total, found.clean[0].sets, found.clean[0].false_alarms) == (4, 2, 0)
    assert (found.looks.total, found.looks.passed_first, found.looks.passed) == (4, 3, 4)
    assert [(fault.grade, fault.above, fault.detected(2)) for fault in found.faults] == [
        ("x 2", True, 1.0), ("x 1.01", False, 0.0),
    ]  # fmt: skip
    worst = max(found.deficits, key=lambda deficit: deficit.every.less)
    assert worst.every.less < 0


# --- our verdict as a score -------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1.0, 1.3, 1.6, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("tail", [False, True])
def test_scores_say_what_the_verdict_says(noise: float, tail: bool) -> None:
    """Beyond g and below the level exactly where the verdict is DEGRADED or FAIL."""
    reference, *replicates, candidate = (_noisy(seed, 1.0) for seed in (None, 1, 2, 3, 4, None))
    candidate = _noisy(9, noise, tail=tail)
    named = {str(place): run for place, run in enumerate(replicates)}
    verdict = noise_floor.judge_ratio(reference, named, candidate, k=8)
    score = scores.score(reference, named, candidate, verdict, 8)
    blamed = verdict.decision in power.BLAMED
    assert scores.accused(score, verdict.limit_good) == (blamed, blamed)


def _noisy(seed: int | None, times: float, tail: bool = False) -> TokenLogprobs:
    """16 sequences of 40 tokens over 12 ids, with rounding noise of its own, or heavy-tailed noise."""
    logits = np.random.default_rng(0).normal(0, 2, (16, 40, 12))
    if seed is not None:
        random = np.random.default_rng(seed)
        wild = 6 if tail else 1
        spread = np.where(random.random((16, 40, 1)) < 0.02, wild, 1) * 0.02 * math.sqrt(times)
        logits = logits + random.normal(0, 1, logits.shape) * spread
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    ids = np.argsort(-logs, axis=-1)[..., :8]
    return TokenLogprobs(target_logprobs=logs[..., 0], top_ids=ids, top_logprobs=np.take_along_axis(logs, ids, axis=-1))


# --- real engines -----------------------------------------------------------------------------------------


def test_measurements_of_an_engine_are_cut_into_units(tmp_path: Path) -> None:
    """Prefill and decode of a healthy engine, 16 sequences each; the same run given twice counts once."""
    with launched(fake_engine("healthy"), tmp_path) as server:
        measurement = correctness.measure(server, CELL, bench())
    write_measurement(tmp_path / "run", CELL.id, "correctness", measurement)
    found = engines.units_of([tmp_path / "run", tmp_path / "run"])
    assert [(one.stratum, one.sequences) for one in found] == [("prefill", 16), ("decode", 16)]
    assert all(one.decision == one.alone == "PASS" for one in found)
    assert engines.table(found)[0][:4] == (
        "fake-0.0.1", "pocket", "default", {"FAIL": 0, "DEGRADED": 0, "UNDECIDED": 0, "PASS": 2},
    )  # fmt: skip


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_says_what_was_met_and_what_was_missed() -> None:
    """Few units miss the goal whatever they say; bounds, faults and other rules stand in tables."""
    summed = power.summed("tiny", [MODEL])
    found = page.Everything(
        models=(MODEL,), powers=(summed,), replicates=(power.looks([("PASS",), ("UNDECIDED", "FAIL")]),),
        together=power.summed("both", [MODEL]), later=(power.later(MODEL, 1),), engines=(),
    )  # fmt: skip
    text = page.document(found, MADE_AT)
    assert "on 2026-01-02" in text
    assert (
        "| no false alarm among 1000 healthy units held out of calibration | 0 of 4: under 52.7% at 95%, if units were "
        "independent; 1 in larger sets and further looks | **missed** |"
    ) in text
    assert "| other healthy paths: PASS at the first look, 95% | tiny 75.0% of 4 | **missed** |" in text
    assert "| other healthy paths: after doubling twice at most, 99% | tiny 100.0% of 4 | met |" in text
    assert "| A/A, a replicate against the others: PASS at the first look, 95% | tiny 50.0% of 2 | **missed** |" in text
    assert "| tiny | replicates, each against the others | 2 | 1 | 1 | 1 |" in text
    assert "| nowhere fewer faults above the floor detected than by another rule: tiny | nowhere | met |" in text
    assert "| tiny | 2 | 4 | 2 | 2 | 0 | 0 | 1 | 3 | 52.7% | 77.6% |" in text
    assert "| tiny | 2 | 2 | 1 | 0 | 0 | 1 | 1 |" in text
    assert "tiny: of 2 first looks 2 pass at once and 2 in the end; 0 are accused at some look." in text
    assert "| scale x 2 | 5 | 1 | above | 100.0% (50.0% FAIL) |" in text
    assert "| tiny | ours | 0.0% | 50.0% (100.0%) |" in text


def test_pictures_are_the_same_for_the_same_numbers() -> None:
    """No date and no random name in them; each colour beside its word."""
    summed = power.summed("tiny", [MODEL])
    for draw in (pictures.power, pictures.curves):
        picture = draw(summed)
        assert picture == draw(summed)
        assert b"<dc:date>" not in picture
    assert all(f">{decision}<".encode() in pictures.power(summed) for decision in power.DECISIONS)
