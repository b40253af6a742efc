"""All mutants of one checkpoint, served by one process and judged by the probe that judges engines."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from matrix.cells import Cell, Release
from matrix.load import Matrix
from matrix.results import Measurement, Status, Verdict
from probes import noise_floor
from probes.checkpoints import recipes, tiny
from probes.correctness import PROBE
from probes.noise_floor import TokenLogprobs
from probes.probe import Bench
from probes.reference.stage import PROGRAM as REFERENCE
from probes.reference.stage import Reference
from probes.stopwatch import Stopwatch
from runners import http, prepare, venv
from runners.engine import SHIMS, Environment, Launch, Server
from runners.host import Host
from tests.benchmarks.mutation.engine import ENGINE, PROGRAM
from tests.benchmarks.mutation.gathering import Gathering, Shared, scorer
from tests.benchmarks.mutation.records import Judged, JudgedCheckpoint, Stratum, Told
from tests.benchmarks.verdict import rules

TOGETHER = 16
"""Mutants whose generated sequences are scored in one call."""
SOURCES = (PROGRAM, REFERENCE, tiny.PROGRAM, Path(__file__).parents[3] / "probes" / "noise_floor")
STRATA = ("prefill", "decode")
COMPARED_S = 300.0
"""For one comparison in float64."""


class Work(NamedTuple):
    """One checkpoint with all that judging its mutants takes."""

    cell: Cell
    reference: Reference
    server: Server


DECODE = {"decode_sequences": 4, "decode_tokens": 16}
"""Half of what the microscope asks for, of each: the reference scores anew what every mutant generates."""


def cell_of(matrix: Matrix, recipe: str, version: str) -> Cell:
    """The microscope's cell of a recipe, on an engine of our own."""
    device = matrix.devices["cpu-tiny"]
    workload = msgspec.structs.replace(device.workload, **DECODE)
    return Cell(
        release=Release(engine=ENGINE.name, version=version, channel="stable", build="third-party"),
        model=matrix.models[f"{recipes.PREFIX}{recipe}"],
        device=msgspec.structs.replace(device, workload=workload),
        config=matrix.configs["float32"],
    )


@contextmanager
def opened(matrix: Matrix, recipe: str, host: Host, environment: Environment, log: Path) -> Iterator[Work]:
    """The checkpoint's server, up."""
    cell = cell_of(matrix, recipe, "0")
    source = tiny.checkpoint(cell.model.id, recipes.named(recipe), environment, host)
    reference = Reference(
        checkpoint=source, environment=environment, workload=cell.device.workload, watch=Stopwatch(), host=host,
        dtype="float32",
    )  # fmt: skip
    spec = Launch(
        cell=cell, environment=environment, model_path=source.folder, port=venv.free_port(), shims=SHIMS,
        label="mutation",
    )  # fmt: skip
    with venv.launch(ENGINE, spec, log) as server:
        yield Work(cell, reference, server)


def judge_all(work: Work, say: Callable[[str], None]) -> tuple[Judged, ...]:
    """Every mutant and every null twin."""
    told = msgspec.convert(http.get_json(f"{work.server.base_url}/mutants"), list[Told])
    found: list[Judged] = []
    for start in range(0, len(told), TOGETHER):
        numbers = range(start, min(start + TOGETHER, len(told)))
        started = time.monotonic()
        judged = together(work, [(number, told[number]) for number in numbers])
        found += judged
        seconds = time.monotonic() - started
        say(f"{len(found)} of {len(told)}, {seconds / len(judged):.1f} s each: {' '.join(_letter(j) for j in judged)}")
    return tuple(found)


def _letter(judged: Judged) -> str:
    return ("twin " if judged.told.null else "") + judged.status


def together(work: Work, some: Sequence[tuple[int, Told]]) -> list[Judged]:
    """Some mutants, by their numbers."""
    gathering = Gathering(scorer(work.reference), len(some))
    fields = {name: getattr(work.reference, name) for name in Reference.__struct_fields__}
    started = time.monotonic()

    def measured(number: int) -> Measurement:
        watch = Stopwatch()
        reference = Shared(**{**fields, "watch": watch}, gathering=gathering)
        return PROBE.measure(mutant(work.server, number), work.cell, Bench(reference=reference, watch=watch))

    answers = gathering.run([partial(measured, number) for number, _ in some])
    seconds = (time.monotonic() - started) / len(some)
    return [
        _judged(work, number, told, answer, seconds) for (number, told), answer in zip(some, answers, strict=True)
    ]  # fmt: skip


def mutant(server: Server, number: int) -> Server:
    """The server as if that mutant were all that it serves."""
    return msgspec.structs.replace(server, base_url=f"{server.base_url}/m/{number}")


def _judged(work: Work, number: int, told: Told, answer: Measurement | Exception, seconds: float) -> Judged:
    if isinstance(answer, Exception):
        return Judged(told=told, status="UNFIT", reason=f"{type(answer).__name__}: {answer}", seconds=seconds)
    verdict = PROBE.judge(answer, work.cell)
    relative = nats = None
    if verdict.status is not Status.FAIL and not told.null:
        relative, nats = _compared(work, number)
    return Judged(
        told=told,
        status=verdict.status.value,
        reason=verdict.reason,
        strata={name: stratum(verdict, name) for name in STRATA},
        rules=others(answer),
        digest=_digest(answer),
        relative=relative,
        nats=nats,
        seconds=seconds,
    )


def _compared(work: Work, number: int) -> tuple[float, float]:
    corpus = work.reference.corpus()
    body = {"sequences": corpus["token_ids"].tolist(), "prompt": corpus["token_ids"].shape[1] - 24}
    found = post_json(f"{work.server.base_url}/m/{number}/compare", body)
    return float(found["relative"]), float(found["nats"])


def post_json(url: str, body: dict[str, Any]) -> Any:
    """The JSON that a server on this machine answers."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=COMPARED_S) as answer:
        return json.loads(answer.read())


def stratum(verdict: Verdict, name: str) -> Stratum:
    """How far off a mutant is in one stratum, of the verdict's numbers."""
    numbers = {key.removeprefix(f"{name}_"): value for key, value in verdict.numbers.items() if key.startswith(name)}
    ratios = [numbers[key] / numbers[f"noise_{key}"] for key in ("rms", "largest") if numbers[f"noise_{key}"]]
    return Stratum(
        times=max(ratios, default=0.0), largest=numbers["largest"], noise_largest=numbers["noise_largest"],
        misses=numbers["misses"], nonfinite=numbers["nonfinite"],
    )  # fmt: skip


def others(measurement: Measurement) -> dict[str, bool]:
    """Which of the rules that others use reject what a mutant says of the corpus."""
    reference, _ = noise_floor.family(measurement.tables["corpus"])
    candidate = TokenLogprobs(**measurement.tables["prefill"])
    listed = rules.shortened(reference, candidate.top_ids.shape[-1])
    values = {rule.name: rule.statistic(listed, candidate) for rule in rules.RULES}
    return rules.published({name: value if np.isfinite(value) else np.inf for name, value in values.items()})


def _digest(measurement: Measurement) -> str:
    digest = hashlib.sha256()
    for name in STRATA:
        for array in measurement.tables[name].values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def sources(recipe: str) -> str:
    """Of all that the judgement of a checkpoint's mutants depends on."""
    digest = hashlib.sha256(recipes.to_toml(recipes.named(recipe)).encode())
    for folder in SOURCES:
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def checkpoint(
    matrix: Matrix, recipe: str, host: Host, environment: Environment, say: Callable[[str], None]
) -> JudgedCheckpoint:
    """One checkpoint from nothing to its record."""
    started, digest = time.monotonic(), sources(recipe)
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(matrix, recipe, host, environment, Path(folder) / "server.log") as work,
    ):
        judged = judge_all(work, say)
        version = work.server.engine_version or ""
    return JudgedCheckpoint(
        recipe=recipe,
        architecture=recipes.named(recipe).architecture,
        digest=digest,
        transformers=version,
        judged=judged,
        seconds=round(time.monotonic() - started, 1),
    )


def reference_environment(matrix: Matrix, recipe: str) -> Environment:
    """The one that this recipe's model is pinned to."""
    return prepare.reference_environment(matrix, cell_of(matrix, recipe, "0").model)
