"""What the tables of a correctness measurement mean: each stratum judged, and the cell's verdict from them.

Strata: the corpus, teacher-forced (*prefill*), and what the engine generated (*decode*), with its logprobs or as text
alone. Pure: a stored measurement is judged again by the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from matrix.cells import Cell, Record
from matrix.results import Measurement, Status, Table, Verdict
from probes import curves, noise_floor, pooling
from probes.ends import NEVER_CHOSEN, without
from probes.noise_floor import Flags, RatioVerdict, TokenLogprobs
from probes.probe import Look, Sequential

SHIFT_FROM = 0.5
SHIFT_TO = 0.05
"""Misses that a shift explains: over half of the positions as they are, under a twentieth a position further."""

MOVED = 1.25
"""Times its frozen ratio: a control whose whole interval lies beyond that is news, whatever the verdict."""

WORST_FIRST = (Status.FAIL, Status.DEGRADED, Status.UNDECIDED, Status.PASS)
ACCUSES = (Status.FAIL, Status.DEGRADED)


class Correctness(Record, frozen=True, kw_only=True):
    """The measurement's values; the arrays are its tables."""

    top_k: int
    prefill: bool
    decode: str
    """`logprobs`: scored by id; `text`: generated text, tokenised again."""
    texts: int = 0
    """Generated texts that were tokenised again."""
    unusable_texts: int = 0
    """Those of them that do not give their token ids back, left out."""
    launched: bool = True
    """False: the server is somebody else's, and cannot be started anew."""
    confirmation: Correctness | None = None
    """Of the measurement on other sequences that was made because this one accuses the engine."""


class Family(Record, frozen=True, kw_only=True):
    """The sequences of one stratum as the reference and its replicates see them."""

    reference: TokenLogprobs
    replicates: dict[str, TokenLogprobs]
    counted: Flags
    """[S, N]: what sequences begin with alike counts once."""
    unsteady: tuple[str, ...] = ()
    """Replicates of a float32 family that are left out, because rounding does not explain them."""
    ties: float = 0.0
    """Share of the positions that are left out of a float32 family, because rounding may decide what is said there."""


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """The worst of the strata that could be asked; an accusation stands if other sequences bear it out."""
    values = msgspec.convert(measurement.values, Correctness)
    scale = _scale(measurement.tables, values.top_k)
    verdict = _judge(measurement.tables, values, scale, cell)
    if values.confirmation is None:
        return verdict
    again = _judge(pooling.confirmation(measurement.tables), values.confirmation, scale, cell)
    return borne_out(verdict, again, values.launched)


def proven(verdict: Verdict) -> bool:
    """Whether no chance is in it: a number that is none was seen."""
    return any(number > 0 for name, number in verdict.numbers.items() if name.endswith("_nonfinite"))


def needs_confirming(verdict: Verdict) -> bool:
    """An accusation, unless it rests on numbers that are none: one start, or one set of sequences, may go wrong."""
    return verdict.status in ACCUSES and not proven(verdict)


def sequential(pool: Callable[[Measurement, Measurement], Measurement]) -> Sequential:
    """How probes go on whose verdict is one of statistics: as much again, as much as both, then other sequences."""
    return Sequential(
        more=(Look(start=1), Look(start=2, size=2)),
        pool=pool,
        confirm=pooling.beside,
        needs_confirming=needs_confirming,
    )


def borne_out(verdict: Verdict, again: Verdict, fresh: bool) -> Verdict:
    """The milder of two accusations, or UNDECIDED where the second measurement has none."""
    where = "on other sequences in a fresh server" if fresh else "on other sequences"
    if again.status in ACCUSES:
        status = max(verdict.status, again.status, key=WORST_FIRST.index)
        reason = f"{verdict.reason}; confirmed {where}: {again.status.value}, {again.reason}"
    else:
        status = Status.UNDECIDED
        reason = f"not confirmed: {verdict.status.value} at first ({verdict.reason}), {where} {again.status.value} "
        reason += f"({again.reason})"
    return msgspec.structs.replace(verdict, status=status, reason=reason)


def _judge(tables: Mapping[str, Table], values: Correctness, scale: Mapping[str, float], cell: Cell) -> Verdict:
    strata: dict[str, Callable[[int], Verdict]] = {}
    if values.prefill:
        family = family_of(tables["corpus"], dtype=cell.dtype)
        strata["prefill"] = partial(by_logprobs, tables["prefill"], family, values.top_k, scale, cell)
    family = family_of(tables["decode reference"], generated(tables["decode reference"]), cell.dtype)
    if values.decode == "logprobs":
        strata["decode"] = partial(by_logprobs, tables["decode"], family, values.top_k, scale, cell)
    else:
        strata["decode, text alone"] = partial(by_text, family, values, cell)
    return worst_of(step_down(strata))


def step_down(strata: Mapping[str, Callable[[int], Verdict]]) -> dict[str, Verdict]:
    """Holm's procedure (1979): each stratum at its share of the level; what is rejected leaves more to the others.

    A stratum is a function of how many strata share the level.
    """
    verdicts: dict[str, Verdict] = {}
    left = dict(strata)
    while left:
        found = {name: ask(len(left)) for name, ask in left.items()}
        accused = [name for name, verdict in found.items() if verdict.status in ACCUSES]
        verdicts |= found
        if not accused:
            break
        left = {name: ask for name, ask in left.items() if name not in accused}
    return {name: verdicts[name] for name in strata}


def worst_of(strata: Mapping[str, Verdict]) -> Verdict:
    """One verdict: the worst status, and what each stratum says."""
    worst = min(strata.values(), key=lambda verdict: WORST_FIRST.index(verdict.status))
    return Verdict(
        status=worst.status,
        reason="; ".join(f"{name}: {verdict.reason}" for name, verdict in strata.items()),
        evidence={f"{name}: {key}": text for name, v in strata.items() for key, text in v.evidence.items()},
        numbers={f"{name.split(',')[0]}_{key}": x for name, v in strata.items() for key, x in v.numbers.items()},
        curves={f"{name.split(',')[0]}_{key}": x for name, v in strata.items() for key, x in v.curves.items()},
    )


# --- what the tables hold ---------------------------------------------------------------------------------


def family_of(table: Table, keep: Flags | None = None, dtype: str = "bfloat16") -> Family:
    """A table of the reference program, with only the positions in `keep` [S, N], and its rounding told from faults."""
    reference, replicates = noise_floor.family(table)
    if NEVER_CHOSEN in table:
        never = table[NEVER_CHOSEN]
        reference = without(reference, never)
        replicates = {name: without(run, never) for name, run in replicates.items()}
    if keep is not None:
        reference = noise_floor.restrict(reference, keep)
    unsteady: tuple[str, ...] = ()
    ties = 0.0
    if dtype == "float32":
        found = noise_floor.rounding(reference, replicates)
        replicates, unsteady = found.replicates, found.dropped
        ties = float(found.undecided.sum() / max(1, np.isfinite(reference.target_logprobs).sum()))
        reference = noise_floor.restrict(reference, ~found.undecided)
    counted = noise_floor.first_seen(table["token_ids"], reference)
    return Family(reference=reference, replicates=replicates, counted=counted, unsteady=unsteady, ties=ties)


def generated(table: Table) -> Flags:
    """[S, N] True where column n holds a generated token (column n is token n + 1)."""
    columns = np.arange(table["token_ids"].shape[1] - 1)[None, :] + 1
    inside = (columns >= table["prompt_lengths"][:, None]) & (columns < table["lengths"][:, None])
    return np.asarray(inside)


def _scale(tables: Mapping[str, Table], top_k: int) -> dict[str, float]:
    """T of each rung of the ladder, measured on the first sequences of the corpus."""
    if "ladder" not in tables:
        return {}
    rungs = noise_floor.runs(tables["ladder"])
    if not rungs:
        return {}
    family, first = family_of(tables["corpus"]), slice(len(tables["ladder"]["token_ids"]))
    reference, numbers = noise_floor.counted_part(noise_floor.rows(family.reference, first), family.counted[first])
    replicates = {name: noise_floor.rows(run, numbers) for name, run in family.replicates.items()}
    rungs = {name: noise_floor.rows(run, numbers) for name, run in rungs.items()}
    return noise_floor.ladder(reference, replicates, rungs, top_k)


# --- one stratum ------------------------------------------------------------------------------------------


def by_logprobs(
    table: Table, family: Family, top_k: int, scale: Mapping[str, float], cell: Cell, strata: int
) -> Verdict:
    """One stratum of logprobs against the reference, at its share of the level; `scale` is that of the ladder."""
    candidate = TokenLogprobs(**table)
    if cell.dtype == "float32":
        return msgspec.structs.replace(by_float32(candidate, family, top_k), curves=_curves(family, candidate))
    found = noise_floor.judge_ratio(
        family.reference,
        family.replicates,
        candidate,
        counted=family.counted,
        k=top_k,
        controls=[one.ratio for one in cell.controls if one.ratio is not None],
        int8_ratio=scale.get(noise_floor.INT8),
        rungs=scale,
        strata=strata,
    )
    sentence = _named(found.sentence + _news(found, cell), found.decision, family, candidate)
    return Verdict(
        status=Status(found.decision), reason=sentence, evidence=left_out(found.dropped), numbers=ratio_numbers(found),
        curves=_curves(family, candidate),
    )  # fmt: skip


def _curves(family: Family, candidate: TokenLogprobs) -> curves.Curves:
    """Of the positions at which the reference says something; a beginning that sequences share is among them once."""
    return curves.by_position(family.reference, family.replicates, candidate, family.counted)


def ratio_numbers(found: RatioVerdict) -> dict[str, float]:
    """What a ratio's verdict has to show."""
    numbers = {"misses": float(found.misses), "nonfinite": float(found.nonfinite), "tokens": float(found.tokens)}
    numbers |= {"sequences": float(found.sequences)}
    for name, estimate in (("ratio", found.ratio), ("ratio_d", found.ratio_d)):
        if estimate is not None:
            numbers |= {name: estimate.value, f"{name}_low": estimate.low_pass, f"{name}_high": estimate.high_pass}
    return numbers


def _news(found: RatioVerdict, cell: Cell) -> str:
    """That a control has moved: an engine-wide change shows there first, and may leave every square green."""
    own = (cell.model.id, cell.config.id)
    frozen = [one for one in cell.controls if (one.model, one.config) == own and one.ratio is not None]
    if not frozen or found.ratio is None:
        return ""
    control, ratio = frozen[0], found.ratio
    assert control.ratio is not None
    if ratio.low_fail > MOVED * control.ratio:
        return f"; this control moved up from {control.ratio:.2g} x, frozen with {control.release}"
    return ""


def by_float32(candidate: TokenLogprobs, family: Family, top_k: int, baseline: TokenLogprobs | None = None) -> Verdict:
    """Judge what was computed in float32, against the reference or against another answer of the same engine."""
    found = noise_floor.judge_float32(family.reference, family.replicates, candidate, top_k, baseline=baseline)
    sentence = _named(found.sentence, found.decision, family, candidate) if baseline is None else found.sentence
    status = Status(found.decision)
    if family.ties > noise_floor.FLOAT32_TIES and status is Status.PASS:
        status = Status.UNDECIDED
    if family.ties:
        sentence = f"{sentence}; {family.ties:.1%} of the tokens left out, where a choice is nearly a tie"
    numbers = {"rms": found.rms, "largest": found.largest, "noise_rms": found.noise_rms}
    numbers |= {"noise_largest": found.noise_largest, "tokens": float(found.tokens)}
    numbers |= {"misses": float(found.misses), "nonfinite": float(found.nonfinite)}
    numbers |= {"ties": family.ties}
    return Verdict(status=status, reason=sentence, evidence=left_out(family.unsteady), numbers=numbers)


def left_out(replicates: Sequence[str]) -> dict[str, str]:
    """Evidence of a fault of the reference's software."""
    return {"reference problem": f"replicates left out: {', '.join(replicates)}"} if replicates else {}


def by_text(family: Family, values: Correctness, cell: Cell, strata: int) -> Verdict:
    """The margin test on the texts that could be read; a PASS needs most of them, for garbage is hard to read."""
    if family.unsteady and len(family.replicates) < noise_floor.MIN_REPLICATES:
        few = f"{len(family.replicates)} replicates that rounding explains and {noise_floor.MIN_REPLICATES} are needed"
        return Verdict(status=Status.UNDECIDED, reason=few, evidence=left_out(family.unsteady))
    found = noise_floor.judge_margins(
        noise_floor.generated_margins(family.reference),
        [noise_floor.greedy_margins(family.reference, replicate) for replicate in family.replicates.values()],
        noise_floor.noise_tau(family.reference, family.replicates),
        control=max((one.hard_rate for one in cell.controls if one.hard_rate is not None), default=0.0),
        alpha=noise_floor.MARGIN_FAIL_ALPHA / strata,
    )
    numbers = {"hard_mismatches": float(found.hard), "tokens": float(found.tokens), "tau": found.tau}
    numbers |= {"texts": float(values.texts), "unusable_texts": float(values.unusable_texts)}
    unusable = f"{values.unusable_texts} of {values.texts} texts do not give their token ids back and are left out"
    reason = f"{found.sentence}; {unusable}" if values.unusable_texts else found.sentence
    status = Status(found.decision)
    if status is Status.PASS and 2 * values.unusable_texts > values.texts:
        status = Status.UNDECIDED
    return Verdict(status=status, reason=reason, evidence=left_out(family.unsteady), numbers=numbers)


# --- a fault by its name ----------------------------------------------------------------------------------


def _named(sentence: str, decision: str, family: Family, candidate: TokenLogprobs) -> str:
    """The sentence of a FAIL begins with its fault where that has a name."""
    shift = _shift(family.reference, candidate) if decision == "FAIL" else None
    return f"{shift}; {sentence}" if shift else sentence


def _shift(reference: TokenLogprobs, candidate: TokenLogprobs) -> str | None:
    """Names an off-by-one: rows that miss the reference where they stand, and match it one position on."""
    here = _miss_rate(reference, candidate)
    if here < SHIFT_FROM:
        return None
    before, after = slice(None, -1), slice(1, None)
    if _miss_rate(_columns(reference, after), _columns(candidate, before)) < SHIFT_TO:
        return "shifted by one position: each token is scored with the logits that follow it"
    if _miss_rate(_columns(reference, before), _columns(candidate, after)) < SHIFT_TO:
        return "shifted by one position: each token is scored with the logits before those that predict it"
    return None


def _columns(run: TokenLogprobs, columns: slice) -> TokenLogprobs:
    return TokenLogprobs(
        target_logprobs=run.target_logprobs[:, columns],
        top_ids=run.top_ids[:, columns],
        top_logprobs=run.top_logprobs[:, columns],
    )


def _miss_rate(reference: TokenLogprobs, candidate: TokenLogprobs) -> float:
    miss = noise_floor.token_kl(reference, candidate).miss
    valid = ~np.isnan(reference.target_logprobs)
    return float(miss[valid].mean()) if valid.any() else 0.0
