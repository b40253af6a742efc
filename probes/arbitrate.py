"""After a run, or a night: engines that are accused against the same reference, compared with each other.

Whoever is accused is judged alone first; only then can be seen whether others say the same. What is rewritten is the
verdict: the measurement stays, and how the engine was judged alone stands in the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import msgspec

from matrix.cells import Record
from matrix.results import Result, SchemaError, Status, Table, read_measurement, write_result
from probes import noise_floor
from probes.answers import ALONE, judged_alone, newest
from probes.noise_floor import Ints, TokenLogprobs, arbitration
from probes.noise_floor.arbitration import Agreement, Suspicion
from probes.strata import ACCUSES
from runners.engine import Engine

CORRECTNESS = "correctness"
LOADING = "loading"


class Accused(Record, frozen=True, kw_only=True):
    """An engine that differs from the reference, and what it said of the corpus."""

    run: Path
    result: Result
    corpus: Table
    prefill: Table
    top_k: int

    @property
    def name(self) -> str:
        """The release."""
        return self.result.provenance.release_id


def arbitrate(runs: Iterable[Path], engines: Mapping[str, Engine]) -> list[Result]:
    """Rewrite, in the folders of some runs, the accusations that engines of different lineage share; returns them.

    Of each cell the newest result counts. An engine takes part that scored the corpus and whose measurement is at
    hand; one of text alone says too little to be compared.
    """
    groups: dict[tuple[str, ...], list[Accused]] = {}
    for run, result in newest(runs, CORRECTNESS):
        if result.verdict.status in ACCUSES and (found := _read(run, result)) is not None:
            groups.setdefault(_place(result), []).append(found)
    return [result for group in groups.values() for result in _arbitrated(group, engines)]


def _place(result: Result) -> tuple[str, ...]:
    """What engines must share to have been judged by the same reference in the same way."""
    cell = result.cell
    return cell.model.id, str(result.provenance.model_digest), cell.device.id, cell.config.id


def _read(run: Path, result: Result) -> Accused | None:
    """With its measurement; None where that is not at hand, or scores no corpus."""
    if result.measurement is None:
        return None
    try:
        found = read_measurement(run / result.cell_id / result.measurement)
        corpus, prefill, top_k = found.tables["corpus"], found.tables["prefill"], int(found.values["top_k"])
    except (SchemaError, KeyError):
        return None
    return Accused(run=run, result=result, corpus=corpus, prefill=prefill, top_k=top_k)


def _arbitrated(group: Sequence[Accused], engines: Mapping[str, Engine]) -> list[Result]:
    lineages = {one.name: _lineage(one, engines) for one in group}
    agreements = {}
    for one, other in combinations(group, 2):
        if arbitration.independent(lineages[one.name], lineages[other.name]):
            found = _compared(one, other)
            if found is not None:
                agreements[one.name, other.name] = found
    by_name = {one.name: one for one in group}
    return [
        _rewritten(by_name[name], suspicion)
        for suspicion in arbitration.suspects(lineages, agreements)
        for name in suspicion.engines
    ]


def _lineage(one: Accused, engines: Mapping[str, Engine]) -> str:
    """Whose modelling code it ran: where it fell back on transformers' classes, the reference's own."""
    name = one.result.cell.release.engine
    path = one.run / one.result.cell_id / f"{LOADING}.measurement.json"
    try:
        if path.is_file() and read_measurement(path).values.get("fell_back"):
            return arbitration.REFERENCE_LINEAGE
    except SchemaError:
        pass  # whoever reports on the run names it
    return engines[name].lineage if name in engines else name


def _rewritten(one: Accused, suspicion: Suspicion) -> Result:
    before = one.result.verdict
    verdict = msgspec.structs.replace(
        before,
        status=Status.REF_SUSPECT,
        reason=f"{sentence(suspicion)}; {before.reason}",
        evidence={**before.evidence, ALONE: judged_alone(before)},
    )
    result = msgspec.structs.replace(one.result, verdict=verdict)
    write_result(one.run, result)
    return result


def sentence(suspicion: Suspicion) -> str:
    """Who agrees with whom, and how closely."""
    *others, last = suspicion.engines
    all_of_them = "both" if len(others) == 1 else "all"
    low, high = (f"{times:.2g}" for times in (suspicion.smallest, suspicion.largest))
    times = low if low == high else f"{low} to {high}"
    return (
        f"{', '.join(others)} and {last}, of different lineage, agree with each other ({times} x the rounding noise "
        f"between two runs) and {all_of_them} differ from the reference"
    )


# --- the tokens that two engines have both scored ---------------------------------------------------------


def _compared(one: Accused, other: Accused) -> Agreement | None:
    """How near they are on the sequences that both have scored; None where not both differ from the reference there.

    One may have been asked for more sequences than the other, because it was undecided at first.
    """
    mine, theirs = _shared(one.corpus["token_ids"], other.corpus["token_ids"])
    if not mine:
        return None
    k = min(one.top_k, other.top_k)
    width = min(one.corpus["token_ids"].shape[1], other.corpus["token_ids"].shape[1]) - 1
    try:
        reference, replicates = noise_floor.family(one.corpus)
        replicates = {name: run for name, run in replicates.items() if not name.startswith(noise_floor.SHAKEN)}
        reference = _cut(reference, mine, width)
        replicates = {name: _cut(run, mine, width) for name, run in replicates.items()}
        first, second = (_cut(TokenLogprobs(**a.prefill), rows, width) for a, rows in ((one, mine), (other, theirs)))
        counted = noise_floor.first_seen(one.corpus["token_ids"][mine, : width + 1], reference)
        if not all(
            arbitration.differs(reference, replicates, engine, counted=counted, k=k) for engine in (first, second)
        ):
            return None
        return arbitration.agreement(reference, replicates, first, second, counted=counted, k=k)
    except ValueError:
        return None  # tables that do not fit together clear nobody


def _shared(mine: Ints, theirs: Ints) -> tuple[list[int], list[int]]:
    """Rows of two corpora [S, N] that hold the same sequence; -1 is padding."""
    places = {tuple(ids[ids >= 0].tolist()): row for row, ids in enumerate(theirs)}
    found = [(row, places.get(tuple(ids[ids >= 0].tolist()))) for row, ids in enumerate(mine)]
    pairs = [(row, place) for row, place in found if place is not None]
    return [row for row, _ in pairs], [place for _, place in pairs]


def _cut(run: TokenLogprobs, rows: list[int], width: int) -> TokenLogprobs:
    return TokenLogprobs(
        target_logprobs=run.target_logprobs[rows, :width],
        top_ids=run.top_ids[rows, :width],
        top_logprobs=run.top_logprobs[rows, :width],
    )
