"""The generated page: docs/mutation-score.md."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from probes.noise_floor.limits import FLOAT32_FAIL, FLOAT32_GOOD
from reports.proofs import MutationScore
from tests.benchmarks.mutation import scores
from tests.benchmarks.mutation.records import JudgedCheckpoint
from tests.benchmarks.mutation.scores import Unit
from tests.benchmarks.verdict import rules
from tests.benchmarks.verdict.power import CONFIDENCE, clopper_pearson
from tests.benchmarks.verdict.words import share, table

KILLED_GOAL, FAR_GOAL = 0.98, 0.90
LISTED = 60
"""Characters of a reason that fit into a table."""


def document(found: Sequence[JudgedCheckpoint], made_at: dt.datetime, left_out: Mapping[str, str]) -> str:
    """The whole page; `left_out` says why a checkpoint is not judged."""
    return "\n\n".join(_parts(found, made_at, left_out)) + "\n"


def left_out(one: JudgedCheckpoint, reason: str) -> str:
    """Why a checkpoint is not counted, with what came of it where it was judged all the same."""
    nulls = scores.twins([one])
    accused = sum(unit.judged.status in scores.ALARMS for unit in nulls)
    return f"{reason}. Judged all the same, {accused} of its {len(nulls)} null twins were accused"


def record(found: Sequence[JudgedCheckpoint], made_at: dt.datetime) -> MutationScore:
    """The JSON beside it."""
    return scores.record(found, made_at.isoformat(timespec="seconds"))


def _parts(found: Sequence[JudgedCheckpoint], made_at: dt.datetime, left_out: Mapping[str, str]) -> Iterator[str]:
    units, nulls = scores.mutants(found), scores.twins(found)
    yield "# Mutation score: which faults the microscope sees"
    yield (
        f"Written by `make bench-mutation` on {made_at:%Y-%m-%d}, transformers "
        f"{', '.join(sorted({one.transformers for one in found}))}. Do not edit."
    )
    yield from _method()
    yield from _goals(found, units, nulls)
    yield from _architectures(found)
    if left_out:
        yield "Left out, for no engine is judged by a reference that is known to err (`matrix/rules.toml`):"
        yield "\n".join(f"- {recipe}: {reason}" for recipe, reason in sorted(left_out.items()))
    yield from _operators(units)
    yield from _survivors(units)
    yield from _nulls(nulls)
    yield from _others(units, nulls)
    yield from _limits(units)


def _method() -> Iterator[str]:
    yield (
        "A PASS in float32 on a tiny checkpoint says that an engine computes the architecture rightly. How much it "
        "says is measured here: a fault is put into the model's graph, as an engine might have it, the model is "
        "served over HTTP through another numeric path than the reference's (scaled dot-product attention, prompts in "
        "chunks with a cache, generation in batches, sums in parts cut at random), and the `correctness` probe asks "
        "and judges it as it does any engine, prefill and decode, with the thresholds that were frozen on real engines "
        f"before: PASS within {FLOAT32_GOOD:g} times the noise of float32, FAIL beyond {FLOAT32_FAIL:g} times. Each "
        "operator has a null twin on each checkpoint: the same machinery, which changes nothing."
    )
    yield (
        "A mutant is *killed* where the verdict is FAIL. It is *equivalent*, and left out, only where its float64 "
        f"logits are those of the model (within {scores.IDENTICAL:g} of the largest) and there is a reason why. "
        "*Below the floor*: it differs in float64, by less than a FAIL needs. *Undecided*: neither PASS nor FAIL. "
        "*Hole*: PASS though it differs by more, or is identical and nobody knows why. All but equivalent ones are in "
        "the denominator. A score is the share of killed mutants of an operator, averaged over operators."
    )


def _goals(found: Sequence[JudgedCheckpoint], units: Sequence[Unit], nulls: Sequence[Unit]) -> Iterator[str]:
    score = scores.mean_over_operators(units, scores.is_killed)
    counted = [unit for unit in units if unit.counted]
    killed = sum(map(scores.is_killed, counted))
    far, alarms = scores.far(units, FLOAT32_FAIL), len(scores.alarms(nulls))
    architectures = {one.architecture for one in found}
    yield "## Goals"
    rows = [
        ["mutants, of them not equivalent", "at least 400", f"{len(units)}, {len(counted)}", _met(len(units) >= 400)],
        ["operators", "at least 20", str(len(scores.by_operator(units))), _met(len(scores.by_operator(units)) >= 20)],
        ["architectures", "at least 16", str(len(architectures)), _met(len(architectures) >= 16)],
        ["killed, averaged over operators", f"at least {KILLED_GOAL:.0%}", share(score), _met(score >= KILLED_GOAL)],
        ["killed, of all", "", f"{killed} of {len(counted)}, {share(killed / max(1, len(counted)))}", ""],
        [f"kills {FLOAT32_FAIL:g} times above the floor", f"{FAR_GOAL:.0%}", share(far), _met(far >= FAR_GOAL)],
        ["false alarms on null twins", "0", f"{alarms} of {len(nulls)}", _met(alarms == 0)],
    ]
    yield table(["goal", "wanted", "found", ""], rows)
    times = [unit.judged.times for unit in counted if scores.is_killed(unit) and np.isfinite(unit.judged.times)]
    if times:
        low, middle = np.quantile(times, [0.1, 0.5])
        yield f"Nine of ten kills stand {low:,.0f} times above the floor or more, half of them {middle:,.0f} times."


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


def _architectures(found: Sequence[JudgedCheckpoint]) -> Iterator[str]:
    yield "## By architecture"
    rows = []
    for one in sorted(found, key=lambda one: one.recipe):
        score, units = scores.of_checkpoint(one), scores.mutants([one])
        outcomes = scores.counts(units)
        rows.append([
            f"{one.recipe} ({one.architecture})", share(score.score), str(score.operators),
            *(str(outcomes[name]) for name in scores.OUTCOMES), f"{_floor(one):.0e}", f"{one.seconds / 60:.0f}",
        ])  # fmt: skip
    yield table(["checkpoint", "score", "operators", *scores.OUTCOMES, "floor, nats", "minutes"], rows)


def _floor(one: JudgedCheckpoint) -> float:
    """The largest difference of healthy replicates on the corpus."""
    found = [judged.strata["prefill"].noise_largest for judged in one.judged if "prefill" in judged.strata]
    return float(np.median(found)) if found else float("nan")


def _operators(units: Sequence[Unit]) -> Iterator[str]:
    yield "## By operator"
    rows = []
    for operator, own in sorted(
        scores.grouped(units, lambda unit: unit.judged.told.operator).items(),
        key=lambda pair: (pair[1][0].judged.told.group, pair[0]),
    ):
        outcomes, kills = scores.counts(own), [u.judged.times for u in own if scores.is_killed(u)]
        counted = [unit for unit in own if unit.counted]
        rows.append([
            f"{own[0].judged.told.group}: {operator}",
            share(sum(map(scores.is_killed, counted)) / len(counted)) if counted else "–",
            *(str(outcomes[name]) for name in scores.OUTCOMES),
            str(len({unit.checkpoint.architecture for unit in own})),
            f"{min(kills):.2g}" if kills else "–",
        ])  # fmt: skip
    yield table(["operator", "score", *scores.OUTCOMES, "architectures", "least kill, times the floor"], rows)


def _survivors(units: Sequence[Unit]) -> Iterator[str]:
    yield "## Survivors"
    rest = [unit for unit in units if unit.outcome in ("hole", "undecided", "below the floor")]
    order = {name: place for place, name in enumerate(("hole", "undecided", "below the floor"))}
    if not rest:
        yield "None but those that are equivalent."
    else:
        yield table(
            ["mutant", "checkpoint", "outcome", "times the floor", "nats in float64"],
            [
                [
                    unit.judged.name, unit.checkpoint.recipe, unit.outcome, f"{unit.judged.times:.2g}",
                    f"{unit.judged.nats or 0:.1e}",
                ]
                for unit in sorted(rest, key=lambda unit: (order[unit.outcome], unit.judged.name))
            ],
        )  # fmt: skip
        if any(unit.outcome == "hole" for unit in rest):
            yield (
                "A *hole* passes though float64 differs by more than a FAIL needs. Float64 is asked about all tokens; "
                "the verdict leaves out those that follow a choice of experts which is nearly a tie. A fault that lies "
                "below the floor everywhere else may turn such a choice, and is a hole then. With 0 nats it is "
                "one that changes nothing here, and nobody has said why: it counts as missed all the same."
            )
    yield "### Equivalent"
    same = scores.grouped((unit for unit in units if unit.outcome == "equivalent"), lambda unit: unit.judged.told.same)
    for reason, own in sorted(same.items()):
        largest = max(unit.judged.relative or 0.0 for unit in own)
        names = ", ".join(sorted({unit.judged.told.operator for unit in own}))
        yield f"- {names} ({len(own)}, at most {largest:.0e} apart in float64): {reason}."
    unfit = scores.grouped((unit for unit in units if unit.outcome == "unfit"), lambda unit: unit.judged.told.operator)
    if unfit:
        words = "; ".join(f"{name} ({len(own)})" for name, own in sorted(unfit.items()))
        yield f"Not counted, for the changed model does not run: {words}."


def _nulls(nulls: Sequence[Unit]) -> Iterator[str]:
    yield "## Null twins"
    bad, kinds = scores.alarms(nulls), scores.distinct(nulls)
    undecided = [unit for unit in nulls if unit.judged.status == "UNDECIDED"]
    bound = clopper_pearson(len(bad), kinds)
    yield (
        f"{len(nulls)} null twins, {kinds} of them distinct to the bit: {len(bad)} accused, {len(undecided)} "
        f"undecided. The rate of false alarms is under {share(bound)} (Clopper and Pearson's bound, one-sided, "
        f"{CONFIDENCE:.0%}, of the distinct ones). The largest stands {max(u.judged.times for u in nulls):.2g} times "
        "at the floor."
    )
    for unit in (*bad, *undecided):
        yield f"- {unit.checkpoint.recipe}, {unit.judged.name}: {unit.judged.status}, {unit.judged.reason[:LISTED]}"


def _others(units: Sequence[Unit], nulls: Sequence[Unit]) -> Iterator[str]:
    yield "## Beside the rules that others use"
    yield (
        "The same mutants and null twins, by the thresholds that the rules' authors published "
        "(`tests/benchmarks/verdict/rules.py` says what each is and what changes when it sees given tokens). They see "
        "the prefill; ours sees what is generated too, and *ours, prefill alone* is the same verdict without it."
    )
    rows = [["ours", share(scores.mean_over_operators(units, scores.is_killed)), _alarms(nulls, "")]]
    rows.append(["ours, prefill alone", share(scores.mean_over_operators(units, _by_prefill)), "–"])
    names = [*(rule.name for rule in rules.RULES), "SGLang, both"]
    for name in names:
        detected = scores.mean_over_operators(units, scores.rejected_by(name))
        rows.append([name, share(detected), _alarms(nulls, name)])
    yield table(["rule", "detected, averaged over operators", "false alarms"], rows)


def _by_prefill(unit: Unit) -> bool:
    found = unit.judged.strata.get("prefill")
    return found is not None and (found.times > FLOAT32_FAIL or found.misses > 0 or found.nonfinite > 0)


def _alarms(nulls: Sequence[Unit], rule: str) -> str:
    count = sum(unit.judged.rules.get(rule, False) if rule else unit in scores.alarms(nulls) for unit in nulls)
    return f"{count} of {len(nulls)}"


def _limits(units: Sequence[Unit]) -> Iterator[str]:
    yield "## What this does not show"
    yield (
        "Faults are put into transformers' own graph, one at a time, on tiny checkpoints. Faults that need what is "
        "not asked here (prefix caches, speculative decoding, many devices, prompts beyond 160 tokens, chat templates, "
        "media) are not among them. Of an operator at most two sites are taken in each checkpoint: the first and the "
        "last of their kind. The decode stratum is half as many sequences of half the length that the microscope "
        "asks for, and an accusation is not confirmed on other sequences, as a run does: both are for time."
    )
    del units
