"""Results as a run would leave them, made by hand."""

from __future__ import annotations

import datetime as dt

import msgspec

from matrix.cells import Cell, Config, Device, FolderSource, Model, Release, Shape, Workload
from matrix.results import SCHEMA_VERSION, Provenance, Result, Status, Verdict

WORKLOAD = Workload(
    corpus_sequences=2,
    corpus_length=16,
    decode_sequences=2,
    decode_prompt_length=8,
    decode_tokens=8,
)
D1 = Shape(id="D1", prompt_tokens=8, output_tokens=8)
FIRST_NIGHT = dt.datetime(2026, 1, 1, 22, tzinfo=dt.UTC)
NUMBERS = {
    "loading": {"startup_s": 12.0},
    "correctness": {"prefill_ratio": 1.02, "prefill_nonfinite": 0.0, "decode_ratio": 0.98, "decode_nonfinite": 0.0},
    "throughput": {"D1_output_tokens_per_s": 31.5},
}


def cell(engine: str = "alpha", config: str = "default") -> Cell:
    return Cell(
        release=Release(engine=engine, version="1.0", channel="stable", build="official"),
        model=Model(
            id="small",
            source=FolderSource(path="small"),
            unpublished=False,
            architecture="Small",
            dtype="bfloat16",
            context_length=64,
        ),
        device=Device(id="cpu", kind="cpu", accelerators=0, workload=WORKLOAD),
        config=Config(id=config, description="a config", speed_counts=config == "default"),
    )


def result(
    probe: str = "loading",
    status: Status = Status.PASS,
    *,
    of: Cell | None = None,
    reason: str = "because <it> & so",
    expected: Status = Status.PASS,
    numbers: dict[str, float] | None = None,
    minute: int = 0,
    run_id: str = "20260102T000000Z-abcdef",
) -> Result:
    of = of or cell()
    verdict = Verdict(
        status=status,
        reason=reason,
        evidence={"log tail": "Traceback\x1b[31m <b>"} if status.blames_engine else {},
        numbers=NUMBERS.get(probe, {}) if numbers is None else numbers,
        expected=expected,
    )
    return Result(
        schema_version=SCHEMA_VERSION,
        cell=of,
        cell_id=of.id,
        probe=probe,
        probe_version=1,
        tier="smoke",
        verdict=verdict,
        provenance=Provenance(
            run_id=run_id,
            started_at=dt.datetime(2026, 1, 2, 3, minute, tzinfo=dt.UTC),
            seconds=1.5,
            harness_version="0.1.0",
            release_id=of.release.id,
            build=of.release.build,
            build_note="",
            engine_version="1.0",
            requirements_sha256="ab" * 32,
            image_digest=None,
            model_digest="cd" * 32,
            machine="a processor, 2 cores, 8 GiB, Linux",
        ),
    )


def whole_cell(of: Cell, correctness: Status = Status.PASS, loading: Status = Status.PASS) -> list[Result]:
    return [
        result("loading", loading, of=of, minute=0),
        result("correctness", correctness, of=of, minute=1),
        result("throughput", of=of, minute=2),
    ]


def night(number: int, speed: float | None, *, canary: float | None = None, version: str = "1.0") -> Result:
    """A speed of one night, counted from the first."""
    of = cell()
    workload = msgspec.structs.replace(of.device.workload, shapes=(D1,))
    of = msgspec.structs.replace(
        of,
        release=msgspec.structs.replace(of.release, version=version),
        device=msgspec.structs.replace(of.device, workload=workload),
    )
    numbers = {"D1_speed_per_s": speed, "device_bandwidth_bytes_per_s": canary}
    known = {name: value for name, value in numbers.items() if value is not None}
    made = result("throughput", of=of, numbers=known)
    started = FIRST_NIGHT + dt.timedelta(days=number)
    provenance = msgspec.structs.replace(made.provenance, started_at=started, engine_version=version)
    return msgspec.structs.replace(made, provenance=provenance)


def of_night(result: Result, night: str) -> Provenance:
    """The provenance of a result as a part of a nightly run."""
    return msgspec.structs.replace(result.provenance, night=night)
