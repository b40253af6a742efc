"""The part of the page about the rules that others use, on the same units as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.benchmarks.verdict import rules
from tests.benchmarks.verdict.judging import LISTED
from tests.benchmarks.verdict.power import OURS, RATES, USABLE, Deficit, Gap, ModelPower, Point
from tests.benchmarks.verdict.words import share, table


class Gaps(NamedTuple):
    """Which faults are compared."""

    usable: Callable[[Deficit], Gap]
    """At rates of false alarms that would be borne."""
    anywhere: Callable[[Deficit], Gap]


EVERY = Gaps(lambda one: one.every, lambda one: one.anywhere)
ABOVE = Gaps(lambda one: one.above, lambda one: one.above_anywhere)


def section(powers: Sequence[ModelPower], together: ModelPower) -> Iterator[str]:
    """At the published thresholds, at equal rates of false alarms, and where ours is worse."""
    yield "## Beside the rules that others use"
    yield (
        "On units of the same text: sets of healthy runs too are drawn from the sequences that faulty runs have, for "
        "the rounding noise of one text is larger than that of another, and only ours knows it. The originals judge "
        f"what an engine generates; here all rules see given tokens, and the {LISTED} ids listed at each: what that "
        "changes is said at each rule in `tests/benchmarks/verdict/rules.py`. "
        "Detected: mean over faults of the share of sets that the rule rejects; in parentheses, of those above the "
        "floor."
    )
    yield "\n".join(
        f"- {rule.name}: {_threshold(rule)}, {rule.together} over sequences ({rule.source})" for rule in rules.RULES
    )
    yield "### At the thresholds that their authors published"
    yield _published(powers)
    yield "### At the same rate of false alarms"
    yield (
        "Each rule with the lowest threshold that gives no more false alarms than that among these very units: as if "
        "its users knew the noise of each model and had set it by hand (`both`: one threshold for both models), which "
        "ours does without being told. *Ours* varies g at the rule's level, as others vary their tolerance; *by level* "
        "varies the level at the rule's g."
    )
    every = (*powers, together)
    yield from (f"![Detection against false alarms, {one.name}](verdict-curves-{one.name}.svg)" for one in every)
    yield "<details><summary>In numbers</summary>"
    yield _matched(every)
    yield "</details>"
    yield "### Where ours is worse"
    yield "\n".join(_worse(every))


def _threshold(rule: rules.Rule) -> str:
    return "rejects any" if rule.threshold == rules.ANY else f"rejects from {rule.threshold:g}"


def _published(powers: Sequence[ModelPower]) -> str:
    sizes = sorted({size for power in powers for size in power.published})
    rows = [
        [power.name, rule, *(cell for size in sizes for cell in _cells(power.published[size][rule]))]
        for power in powers
        for rule in next(iter(power.published.values()), {})
    ]
    heads = [f"{what} at {size}" for size in sizes for what in ("false alarms", "detected")]
    return table(["model", "rule", *heads], rows)


def _cells(point: Point) -> tuple[str, str]:
    return share(point.false_alarms), f"{share(point.every)} ({share(point.above)})"


def _matched(powers: Sequence[ModelPower]) -> str:
    rows = [
        [power.name, str(curve.size), curve.rule, *(_cells(curve.at(rate))[1] for rate in RATES)]
        for power in powers
        for curve in power.curves
    ]
    return table(["model", "sequences", "rule", *(f"at {rate:.1%}" for rate in RATES)], rows)


def _worse(powers: Sequence[ModelPower]) -> list[str]:
    every = [(power.name, one) for power in powers for one in power.deficits if one.ours == OURS]
    worse = [(name, one) for name, one in every if one.every.less > 0]
    lines = [f"- {name}, {one.size} sequences: {_lines(one)}" for name, one in worse]
    return [f"Up to {USABLE:.0%} false alarms, in {len(worse)} of {len(every)} comparisons.", "", *lines]


def _lines(one: Deficit) -> str:
    said = f"{share(one.every.less)} less than {one.other} at {share(one.every.at)} false alarms"
    if one.above.less > 0:
        said += f", above the floor {share(one.above.less)} less at {share(one.above.at)}"
    return said


def worst(power: ModelPower, ours: str, gaps: Gaps) -> Deficit | None:
    """The comparison in which ours falls shortest, at rates that would be borne before all others."""
    some = [deficit for deficit in power.deficits if deficit.ours == ours]
    return max(some, key=lambda one: (max(gaps.usable(one).less, 0.0), gaps.anywhere(one).less), default=None)


def words(one: Deficit, gaps: Gaps) -> str:
    """It in a cell of a table."""
    usable, anywhere = gaps.usable(one), gaps.anywhere(one)
    if anywhere.less <= 0:
        return "nowhere"
    if usable.less > 0:
        where = f"at {share(usable.at)} false alarms and {one.size} sequences"
        return f"{share(usable.less)} less than {one.other} {where}"
    beyond = f"{share(anywhere.less)} less than {one.other} at {share(anywhere.at)}, {one.size} sequences"
    return f"nowhere up to {USABLE:.0%} false alarms; beyond, {beyond}"
