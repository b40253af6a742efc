"""Failing results with the cause that each is known to have: simulated ones, public errors, and our own runs'."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from matrix.cells import Cell, Config, Device, FolderSource, Model, Record, Release
from matrix.errors import ARCHITECTURE_UNKNOWN
from matrix.results import Result, Status, Verdict
from reports import store
from reports.bugs.signature import LOG_TAIL, Signature, signature
from tests.reports import nights, samples

HERE = Path(__file__).parent
PUBLIC = HERE / "real_errors.toml"
OWN = HERE / "own_results.json"

Set = Literal["first", "second", "third"]
"""Read while the rules were made, after that, and after the second had changed them."""
SETS: tuple[Set, ...] = get_args(Set)

SECOND = re.compile(
    r"(?P<stratum>prefill|decode): logprobs off by (?P<rms>[\d.e+-]+) nats \(RMS\) and [\d.e+-]+ at most, [\d.e+]+ x "
    r"float32's own rounding \((?P<noise>[\d.e+-]+) and"
)
"""In the second half of a sentence: what other sequences on a fresh server gave, which is a second run."""


class Case(Record, frozen=True, kw_only=True):
    """One failing result, and its cause."""

    cause: str
    source: str
    """Where the cause is known from: an issue, a row of docs/engine-faults.md, or a simulated night."""
    known: Signature
    set: Set = "first"


class Own(Record, frozen=True, kw_only=True):
    """What of a result of ours its signature is made of, and the row of docs/engine-faults.md that explains it."""

    fault: str
    engine: str
    model: str
    architecture: str
    device_kind: str
    probe: str
    judged: bool
    verdict: Verdict


class Error(Record, frozen=True, kw_only=True):
    """One public error; the head of real_errors.toml says what each field is."""

    cause: str
    source: str
    engine: str
    models: tuple[str, ...]
    said: tuple[str, ...]
    frame: str = ""
    unknown: bool = False
    """The engine says by it that it does not know the architecture."""
    set: Set = "first"


def simulated(found: Sequence[nights.Night]) -> list[Case]:
    """Every failing result of simulated nights that has a cause: what happened once or is expected has none."""
    made = []
    for night in found:
        for one in night.results:
            cause = night.causes.get((one.cell_id, one.probe))
            if cause is not None:
                known = _signature(one.cell, one.probe, one.verdict, judged=one.measurement is not None)
                made.append(Case(cause=cause, source=f"night {night.number}", known=known))
    return made


def public() -> list[Case]:
    """The public errors, each as often as it was written."""
    errors = msgspec.convert(tomllib.loads(PUBLIC.read_text()), dict[str, list[Error]])["error"]
    return [case for error in errors for case in _of_error(error)]


def _of_error(error: Error) -> Iterator[Case]:
    for number, words in enumerate(error.said):
        model, _, architecture = error.models[number % len(error.models)].partition(" ")
        cell = _cell(error.engine, model, architecture, "cuda")
        if error.unknown:
            verdict = Verdict(status=Status.FAIL, reason=f"{ARCHITECTURE_UNKNOWN}: {words}")
        else:
            file, _, function = error.frame.partition(" ")
            frame = f'File "/v{number}/site-packages/{error.engine}/{file}", line {7 + number}, in {function}'
            reason = f"exited with code 1 while loading: {words}"
            log = f"{frame if error.frame else ''}\n{words}"
            verdict = Verdict(status=Status.CRASH, reason=reason, evidence={LOG_TAIL: log})
        known = _signature(cell, "loading", verdict, judged=False)
        yield Case(cause=f"{error.engine}: {error.cause}", source=error.source, known=known, set=error.set)


def own() -> list[Case]:
    """The failing results of our own runs, those of float32 twice: what confirmed them was a second run."""
    found = msgspec.json.decode(OWN.read_bytes(), type=list[Own])
    return [case for one in found for case in _of_own(one)]


def _of_own(one: Own) -> Iterator[Case]:
    cell = _cell(one.engine, one.model, one.architecture, one.device_kind)
    for verdict in (one.verdict, _second(one.verdict)):
        if verdict is not None:
            known = _signature(cell, one.probe, verdict, judged=one.judged)
            yield Case(cause=f"{one.engine}: {one.fault}", source=f"docs/engine-faults.md {one.fault}", known=known)


def _second(verdict: Verdict) -> Verdict | None:
    """What confirmed it, where its sentence tells the numbers; without curves, which it does not tell."""
    _, _, second = verdict.reason.partition("; confirmed ")
    numbers = {
        f"{found['stratum']}_{name}": float(value)
        for found in SECOND.finditer(second)
        for name, value in (("rms", found["rms"]), ("noise_rms", found["noise"]))
    }
    return msgspec.structs.replace(verdict, numbers=numbers, curves={}, reason=second) if numbers else None


def take(results: Path, faults: Mapping[tuple[str, str], str]) -> int:
    """Keep what a folder's failing results are known by, with the fault of each engine and model; returns how many."""
    blaming = [status.value for status in Status if status.blames_engine]
    with store.opened(results) as opened:
        found = opened.results("list_contains(?, status)", [blaming])
    kept = [_own(one, faults) for one in found if (one.cell.release.engine, one.cell.model.id) in faults]
    OWN.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    return len(kept)


def _own(one: Result, faults: Mapping[tuple[str, str], str]) -> Own:
    cell, verdict = one.cell, one.verdict
    words = verdict.reason.partition(": ")[2]
    tail = verdict.evidence.get(LOG_TAIL, "")
    # Of a log the frames before the words are enough, and of paths what stands behind the environment.
    frames = re.findall(
        r'File "[^"]*/site-packages/([^"]+)", (line \d+, in [\w.<>]+)', tail[: max(0, tail.rfind(words))]
    )
    shown = "\n".join([*(f'File "/site-packages/{file}", {where}' for file, where in frames[-3:]), words])
    evidence = {LOG_TAIL: shown} if verdict.status is Status.CRASH else {}
    return Own(
        fault=faults[cell.release.engine, cell.model.id],
        engine=cell.release.engine,
        model=cell.model.id,
        architecture=cell.model.architecture,
        device_kind=cell.device.kind,
        probe=one.probe,
        judged=one.measurement is not None,
        verdict=msgspec.structs.replace(verdict, evidence=evidence, expected=Status.PASS, expected_reason=""),
    )


def _signature(cell: Cell, probe: str, verdict: Verdict, **more: Any) -> Signature:
    return signature(cell, probe, verdict, **more)


def _cell(engine: str, model: str, architecture: str, kind: str) -> Cell:
    return Cell(
        release=Release(engine=engine, version="1.0", channel="stable", build="official", released=dt.date(2026, 1, 1)),
        model=Model(
            id=model,
            source=FolderSource(path=model),
            architecture=architecture,
            dtype="bfloat16",
            context_length=4096,
        ),
        device=Device(id="device", kind=kind, accelerators=0, workload=samples.WORKLOAD),
        config=Config(id="default", description="What users run."),
    )
