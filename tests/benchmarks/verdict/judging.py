"""Runs judged: each set of sequences by our rule, and by the others' statistics. Files in, records out, and kept."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from matrix.cells import Record
from matrix.results import write_bytes
from probes import noise_floor
from probes.noise_floor import Decision, TokenLogprobs
from tests.benchmarks.verdict import families, rules, scores, units
from tests.benchmarks.verdict.families import Family
from tests.benchmarks.verdict.units import Rows

LISTED = 20
"""Ids that engines list at a position, at most: vLLM's default."""
INT8 = "int8_rows_in_100_.npz"
"""The fault whose T is the model's int8 ratio, as the program names its file."""
PROCESSES = 2


class Unit(Record, frozen=True, kw_only=True):
    """One set of sequences of one run, judged."""

    rows: Rows
    decision: Decision
    ratio: float
    ratio_d: float
    blamed: tuple[str, ...]
    """Side statistics that withhold a PASS, or worse."""
    dropped: tuple[str, ...]
    """Replicates left out because they disagree with the others."""
    tolerance: float
    level: float
    statistics: dict[str, float]
    """Of other rules."""


class JudgedRun(Record, frozen=True, kw_only=True):
    """One run of one model."""

    name: str
    kind: str
    """Of the fault; empty where there is none."""
    sequences: int
    ratio: float
    """T of all its sequences."""
    ratio_d: float
    limit_good: float
    limit_fail: float
    units: tuple[Unit, ...]
    """Of a healthy run disjoint sets of all its sequences, of a faulty one sets drawn at random."""
    compared: tuple[Unit, ...]
    """Sets drawn in one way from the same sequences, healthy or not: text that is noisier must not look like a fault to
    rules that know nothing of its noise. Of a faulty run its units."""
    looks: tuple[tuple[Decision, ...], ...] = ()
    """Of a healthy run: the verdict at a first look, and after each doubling that it took."""

    @property
    def grade(self) -> str:
        """The name without the kind."""
        return self.name.removeprefix(self.kind).strip()


class JudgedModel(Record, frozen=True, kw_only=True):
    """All runs of one model."""

    name: str
    sequences: int
    length: int
    metadata: dict[str, Any]
    int8_ratio: float | None
    healthy: tuple[JudgedRun, ...]
    faulty: tuple[JudgedRun, ...]


class Task(Record, frozen=True, kw_only=True):
    """What a process needs to judge one run."""

    reference: str
    run: str
    healthy: bool
    sizes: tuple[int, ...]
    int8_ratio: float | None
    compared: int
    """Sequences that faulty runs have, the first ones."""


def judged(folder: Path, sizes: Sequence[int] = units.SIZES) -> JudgedModel:
    """Judge every run below a model's folder, or find it judged by the same code."""
    reference = folder / "reference.npz"
    int8_ratio, compared = int8_ratio_of(folder), _fault_sequences(folder)
    tasks = [
        Task(
            reference=str(reference), run=str(run), healthy=healthy, sizes=tuple(sizes), int8_ratio=int8_ratio,
            compared=compared,
        )
        for healthy, pattern in ((False, "faults"), (True, "healthy"))
        for run in sorted((folder / pattern).glob("*.npz"))
    ]  # fmt: skip
    known = _code_digest() + _digest(reference)
    with ProcessPoolExecutor(PROCESSES) as pool:
        every = pool.map(functools.partial(_kept, folder / "judged", known), tasks)
        found = list(tqdm(every, folder.name, len(tasks), unit="run"))
    with np.load(reference) as archive:
        shape, metadata = archive["token_ids"].shape, msgspec.json.decode(str(archive["metadata"]))
    return JudgedModel(
        name=folder.name,
        sequences=shape[0],
        length=shape[1],
        metadata=metadata,
        int8_ratio=int8_ratio,
        healthy=tuple(run for run in found if not run.kind),
        faulty=tuple(run for run in found if run.kind),
    )


def int8_ratio_of(folder: Path) -> float | None:
    path = folder / "faults" / INT8
    if not path.is_file():
        return None
    _, run = _run(path)
    everything = family(str(folder / "reference.npz")).part(range(len(run.target_logprobs)))
    verdict = everything.judge(run, LISTED, None)
    return verdict.ratio.value if verdict.ratio else None


def _fault_sequences(folder: Path) -> int:
    counts = {len(_run(path)[1].target_logprobs) for path in (folder / "faults").glob("*.npz")}
    return min(counts, default=0)


# --- kept beside the data ---------------------------------------------------------------------------------


def _kept(folder: Path, known: str, task: Task) -> JudgedRun:
    """What was kept of a run under this name is of the same files, code and settings: the name says so."""
    settings = f"{known} {_digest(Path(task.run))} {task.sizes} {task.int8_ratio!r} {task.compared}"
    path = folder / f"{hashlib.sha256(settings.encode()).hexdigest()}.json"
    if path.is_file():
        return msgspec.json.decode(path.read_bytes(), type=JudgedRun)
    found = judge_run(task)
    write_bytes(path, msgspec.json.encode(found))
    return found


def _code_digest() -> str:
    """Of all that a judged run depends on besides its data."""
    rule = sorted(Path(noise_floor.__file__).parent.glob("*.py"))
    ours = [Path(str(module.__file__)) for module in (families, rules, scores, units)]
    return "".join(_digest(path) for path in (*rule, *ours, Path(__file__)))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- one run ----------------------------------------------------------------------------------------------


def judge_run(task: Task) -> JudgedRun:
    """All units of one run."""
    name, run = _run(Path(task.run))
    label, kind = name
    known = family(task.reference)
    count = len(run.target_logprobs)
    values = rules.statistics(rules.chosen(known.reference, range(count)), run)
    whole = known.part(range(count)).judge(run, LISTED, task.int8_ratio)

    def judged_sets(sets: Iterable[Rows]) -> tuple[Unit, ...]:
        return tuple(_unit(known, run, rows, task.int8_ratio, values) for rows in sets)

    drawn = judged_sets(_drawn(task))
    looks = units.looks(count, task.sizes[0]) if task.healthy else []
    return JudgedRun(
        name=label,
        kind=kind,
        sequences=count,
        ratio=whole.ratio.value if whole.ratio else math.nan,
        ratio_d=whole.ratio_d.value if whole.ratio_d else math.nan,
        limit_good=whole.limit_good,
        limit_fail=whole.limit_fail,
        units=judged_sets(_disjoint(count, task.sizes)) if task.healthy else drawn,
        compared=drawn,
        looks=tuple(tuple(looked(known, run, look, task.int8_ratio)) for look in looks),
    )


def _disjoint(count: int, sizes: Sequence[int]) -> Iterator[Rows]:
    for size in sizes:
        yield from units.disjoint(count, size)


def _drawn(task: Task) -> Iterator[Rows]:
    """Half as many of a healthy run, for there are many."""
    for size in task.sizes:
        yield from units.drawn(task.compared, size, units.DRAWS.get(size, 10) // (2 if task.healthy else 1))


def _unit(
    known: Family, run: TokenLogprobs, rows: Rows, int8_ratio: float | None, values: dict[str, noise_floor.Floats]
) -> Unit:
    part, own = known.part(rows), rules.chosen(run, rows)
    verdict = part.judge(own, LISTED, int8_ratio)
    score = scores.score(part.seen_once, part.replicates, own, verdict, LISTED)
    return Unit(
        rows=rows,
        decision=verdict.decision,
        ratio=verdict.ratio.value if verdict.ratio else math.nan,
        ratio_d=verdict.ratio_d.value if verdict.ratio_d else math.nan,
        blamed=tuple(side.name for side in verdict.sides if side.worst != "PASS"),
        dropped=verdict.dropped,
        tolerance=score.tolerance,
        level=score.level,
        statistics={rule.name: rule.of(values[rule.name][list(rows)]) for rule in rules.RULES},
    )


def looked(known: Family, run: TokenLogprobs, looks: Sequence[Rows], int8_ratio: float | None) -> Iterator[Decision]:
    """The verdict at each look, until there is one."""
    for rows in looks:
        decision = known.part(rows).judge(rules.chosen(run, rows), LISTED, int8_ratio).decision
        yield decision
        if decision != "UNDECIDED":
            return


@functools.lru_cache(1)
def family(path: str) -> Family:
    """Of a model's file, as engines tell it."""
    with np.load(path) as archive:
        arrays = dict(archive)
    reference, replicates = noise_floor.family(arrays)
    return Family(
        token_ids=arrays["token_ids"],
        reference=rules.shortened(reference, LISTED),
        replicates={name: rules.shortened(one, LISTED) for name, one in replicates.items()},
    )


def _run(path: Path) -> tuple[tuple[str, str], TokenLogprobs]:
    """Name and kind, and what the run says."""
    with np.load(path) as archive:
        arrays = {field: archive[f"run/{field}"] for field in TokenLogprobs.__struct_fields__}
        return (str(archive["name"]), str(archive["kind"])), rules.shortened(TokenLogprobs(**arrays), LISTED)
