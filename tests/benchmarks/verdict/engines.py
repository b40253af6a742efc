"""Real engines: the measurements of runs of ours, cut into sets of sequences, each set a unit of its own.

Without anybody's fault in them, all of them are clean; what is called DEGRADED or FAIL is a false alarm, or news.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from matrix.cells import Cell, Record
from matrix.results import Table, read_measurement, read_result
from probes import noise_floor, pooling, strata
from probes.noise_floor import Decision, TokenLogprobs
from tests.benchmarks.verdict import rules, units
from tests.benchmarks.verdict.families import Family

SIZE = 16
MEASUREMENT = "correctness.measurement.json"
RESULT = "correctness.result.json"


class EngineUnit(Record, frozen=True, kw_only=True):
    """Some sequences of one stratum of one cell."""

    cell_id: str
    stratum: str
    sequences: int
    said: str
    """SHA-256 of the token ids and of what the engine says of them."""
    decision: Decision
    """With the g that the engine's frozen controls give, as a run of ours has it."""
    alone: Decision
    """With g = 1.25, as for an engine without controls."""
    ratio: float


def units_of(folders: Iterable[Path]) -> list[EngineUnit]:
    """The distinct units of all cells of these runs; what an engine says to the bit again, in any cell, counts once."""
    found: dict[str, EngineUnit] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*/{MEASUREMENT}")):
            for unit in _cell(path):
                found.setdefault(unit.said, unit)
    return list(found.values())


def _cell(path: Path) -> Iterator[EngineUnit]:
    result = path.with_name(RESULT)
    cell = read_result(result).cell if result.is_file() else None
    if cell is not None and cell.dtype == "float32":
        return  # another test's: there is no ratio in float32
    measurement = read_measurement(path)
    top_k = int(measurement.values["top_k"])
    int8_ratio = _int8_ratio(measurement.tables, top_k)
    for tables in (measurement.tables, pooling.confirmation(measurement.tables)):
        yield from judged(path.parent.name, tables, top_k, int8_ratio, cell)


def judged(
    cell_id: str, tables: Mapping[str, Table], top_k: int, int8_ratio: float | None, cell: Cell | None = None
) -> Iterator[EngineUnit]:
    """Every unit of one measurement; text alone has no ratio, and is left out."""
    controls = [one.ratio for one in cell.controls if one.ratio is not None] if cell else []
    for stratum, known, run in _strata(tables):
        ids = known.token_ids
        for rows in units.disjoint(len(ids), SIZE) or [tuple(range(len(ids)))]:
            part, theirs = known.part(rows), rules.chosen(run, rows)
            verdicts = [part.judge(theirs, top_k, int8_ratio, frozen) for frozen in (controls, ())]
            ratio = verdicts[0].ratio
            yield EngineUnit(
                cell_id=cell_id,
                stratum=stratum,
                sequences=len(rows),
                said=_digest(ids[list(rows)], theirs.target_logprobs, theirs.top_ids, theirs.top_logprobs),
                decision=verdicts[0].decision,
                alone=verdicts[1].decision,
                ratio=ratio.value if ratio else float("nan"),
            )


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _strata(tables: Mapping[str, Table]) -> Iterator[tuple[str, Family, TokenLogprobs]]:
    if "prefill" in tables:
        yield "prefill", _family(tables["corpus"]), TokenLogprobs(**tables["prefill"])
    if "decode" in tables:
        table = tables["decode reference"]
        known = _family(table)
        generated = noise_floor.restrict(known.reference, strata.generated(table))
        yield "decode", known._replace(reference=generated), TokenLogprobs(**tables["decode"])


def _family(table: Table) -> Family:
    reference, replicates = noise_floor.family(table)
    return Family(token_ids=table["token_ids"], reference=reference, replicates=replicates)


def _int8_ratio(tables: Mapping[str, Table], top_k: int) -> float | None:
    """From the ladder, which is of the first sequences of the corpus; None without one, which makes F the strictest."""
    if "ladder" not in tables:
        return None
    part = _family(tables["corpus"]).part(range(len(tables["ladder"]["token_ids"])))
    rungs = noise_floor.runs(tables["ladder"])
    return noise_floor.ladder(part.seen_once, part.replicates, rungs, top_k).get(noise_floor.INT8)


def table(found: Sequence[EngineUnit]) -> list[tuple[str, str, str, dict[Decision, int], float]]:
    """Release, model, config; how many units of each verdict, and the largest ratio."""
    rows: dict[tuple[str, str, str], list[EngineUnit]] = {}
    for unit in found:
        parts = unit.cell_id.split("__")
        rows.setdefault((parts[0], parts[1], parts[-1]), []).append(unit)
    return [
        (*key, {d: sum(one.decision == d for one in some) for d in ("FAIL", "DEGRADED", "UNDECIDED", "PASS")},
         max(one.ratio for one in some))
        for key, some in sorted(rows.items())
    ]  # fmt: skip
