"""Sixty simulated nights of three engines: failures of twelve causes, and what looks like failures and is none.

One or two new releases of each engine come out on the way. Causes spread to more models, flake, are mended by a
release, and return; their words and numbers change from night to night as real ones do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np

from matrix.cells import Cell, Config, Device, FolderSource, Model, Record, Release
from matrix.results import SCHEMA_VERSION, Provenance, Result, Status, Verdict
from tests.reports.causes import CAUSES, Random, Shown, wrong
from tests.reports.causes import MODELS as MODELS
from tests.reports.causes import NIGHTS as NIGHTS
from tests.reports.samples import WORKLOAD

FIRST = dt.date(2026, 2, 1)
PROBES = ("loading", "correctness", "protocol")

RELEASES = {
    "alpha": {0: "1.0.0", 20: "1.1.0", 40: "1.2.0"},
    "beta": {0: "2.3", 30: "2.4", 50: "2.5"},
    "gamma": {0: "3.0.1", 25: "3.1.0"},
}
"""By engine, the release that is asked from a night on."""

PLACES = (("gpux1", "cuda", "default"), ("cpu", "cpu", "float32"))
"""Device, its kind, and the config in which it is asked."""

INFRASTRUCTURE = (
    "the hub answered 429 for /models/aspen: rate limited; retry in 37 s",
    "image registry.example/alpha@sha256:3f1c: manifest unknown\n\n```\n# Everything is lost @everyone\n```",
    "the harness failed: KeyError: 'model.layers.3.mlp.experts.w13'",
    "ended by SIGKILL while loading without a word of its own: out of memory on the host, or killed from outside",
    "</details><script>alert(1)</script> fixes #1, see https://example.org/?token=hf_" + "a" * 34,
    "the disk is full: OSError: [Errno 28] No space left on device: '/var/lib/run/0x7f3a'\x1b[31m",
    "RuntimeError: CUDA driver version is insufficient for CUDA runtime version <!-- readiness:alpha-loading -->",
)
"""Texts of errors of ours, some of them much like an engine's, some of them made to break out of what quotes them."""

ONCE = {
    ("alpha", "fir-2b", 0, "loading", 7): "RuntimeError: cudaErrorECCUncorrectable: uncorrectable ECC error",
    ("beta", "birch-3b", 1, "loading", 33): "ConnectionResetError: [Errno 104] Connection reset by peer",
    ("gamma", "dogwood-27b", 0, "loading", 41): "torch.OutOfMemoryError: tried to allocate 2.13 GiB",
    ("gamma", "aspen-8b", 1, "loading", NIGHTS - 1): "ValueError: the newest night has this alone",
}
"""Crashes of a single night, by engine, model, number of the place, probe and night: never confirmed."""

EXPECTED = ("gamma", "aspen-70b", "correctness")
"""Fails every night, and a rule expects it."""
DOUBTED = ("alpha", "ginkgo-14b", "correctness")
"""Fails and is REF-SUSPECT by turns for some nights, and is REF-SUSPECT ever after: never confirmed."""
DOUBTED_BY_TURNS = 6

UNMEASURED = (Status.CRASH, Status.TIMEOUT, Status.ERROR, Status.NOTRUN)


class Night(Record, frozen=True, kw_only=True):
    """What one night brought."""

    number: int
    day: dt.date
    results: list[Result]
    causes: dict[tuple[str, str], str]
    """Names of causes, by cell id and probe; what fails without one is no cause's."""


class Expected(Record, frozen=True, kw_only=True):
    """What a reader of all nights must come to."""

    filed: frozenset[str]
    """Causes of which an issue is filed, one each."""
    closed: dict[str, str]
    """Those that are mended in the end, for more than 14 clean nights, and the release that mended each."""
    returned: frozenset[str]
    """Those that come back after more than 14 clean nights."""
    spread: dict[str, tuple[str, ...]]
    """Models of those that more than one shows, in the order in which they show it first."""


expected = Expected(
    filed=frozenset(cause.name for cause in CAUSES),
    closed={
        "an expert's weight has no name": "alpha-1.1.0",
        "RoPE of another base": "alpha-1.2.0",
        "an illegal access": "beta-2.4",
        "an activation rounded too early": "gamma-3.1.0",
    },
    returned=frozenset({"a window that is ignored"}),
    spread={
        "a fused projection of another shape": ("cedar-30b-a3b", "dogwood-27b", "elm-h-9b"),
        "RoPE of another base": ("aspen-8b", "aspen-70b"),
        "stop words stay in the answer": tuple(MODELS),
        "a scaling that is missing": ("elm-h-9b", "ginkgo-14b"),
    },
)


# --- the nights -------------------------------------------------------------------------------------------


def nights(seed: int = 0) -> list[Night]:
    """All of them; the same seed gives the same ones."""
    return [_night(number, np.random.default_rng([seed, number])) for number in range(NIGHTS)]


def _night(number: int, random: Random) -> Night:
    results: list[Result] = []
    causes: dict[tuple[str, str], str] = {}
    for cell, place in cells(number):
        made = _cell(cell, place, number, random)
        for probe, (shown, cause) in made.items():
            results.append(_result(cell, probe, shown, number, len(results)))
            if cause is not None:
                causes[cell.id, probe] = cause
    return Night(number=number, day=FIRST + dt.timedelta(days=number), results=results, causes=causes)


def cells(night: int) -> Iterator[tuple[Cell, int]]:
    """What is asked on a night, and the number of its place."""
    for engine, releases in RELEASES.items():
        since = max(first for first in releases if first <= night)
        release = Release(
            engine=engine, version=releases[since], channel="stable", build="official",
            released=FIRST + dt.timedelta(days=since), device_kinds=("cpu", "cuda"),
        )  # fmt: skip
        for name, (architecture, from_night) in MODELS.items():
            if from_night <= night:
                for place in range(len(PLACES)):
                    yield _of_place(release, name, architecture, place), place


def _of_place(release: Release, name: str, architecture: str, place: int) -> Cell:
    device, kind, config = PLACES[place]
    return Cell(
        release=release,
        model=Model(
            id=name, source=FolderSource(path=name), architecture=architecture, dtype="bfloat16", context_length=4096
        ),
        device=Device(id=device, kind=kind, accelerators=int(kind != "cpu"), workload=WORKLOAD),
        config=Config(id=config, description=config, dtype="float32" if config == "float32" else "model"),
    )


def _cell(cell: Cell, place: int, night: int, random: Random) -> dict[str, tuple[Shown, str | None]]:
    """What each probe says, and by which cause; a crash or a timeout while loading leaves the others unasked."""
    if random.random() < 0.03:
        ours = Shown(status=Status.ERROR, reason=str(random.choice(INFRASTRUCTURE)))
        return {"loading": (ours, None)}
    made: dict[str, tuple[Shown, str | None]] = {}
    for probe in PROBES:
        found = next((one for one in CAUSES if one.probe == probe and one.shows(cell, place, night, random)), None)
        said = found.says(random, cell, night) if found is not None else _without_cause(cell, place, probe, night)
        name = found.name if found is not None else None
        if probe == "correctness" and random.random() < 0.04:
            said, name = Shown(status=Status.UNDECIDED, reason="12 sequences have no spread to judge by"), None
        made[probe] = (said, name)
        if said.status in (Status.CRASH, Status.TIMEOUT):
            unasked = Shown(status=Status.NOTRUN, reason="the engine broke before it could be asked")
            return made | {other: (unasked, None) for other in PROBES if other not in made}
    return made


def _without_cause(cell: Cell, place: int, probe: str, night: int) -> Shown:
    """A PASS, or one of the things that look like a failure of the engine and must not be filed."""
    where = (cell.release.engine, cell.model.id)
    if (*where, place, probe, night) in ONCE:
        words = ONCE[*where, place, probe, night]
        return Shown(status=Status.CRASH, reason=f"exited with code 1 while loading: {words}")
    if (*where, probe) == EXPECTED:
        return wrong(7.0, 7.0, np.random.default_rng(night), cell, night)
    if (*where, probe) == DOUBTED:
        since = night - MODELS[cell.model.id][1]
        if since < DOUBTED_BY_TURNS and since % 2 == 0:
            return wrong(60.0, 60.0, np.random.default_rng(night), cell, night)
        return Shown(status=Status.REF_SUSPECT, reason="engines of different lineage agree with each other")
    return Shown(status=Status.PASS, reason="as it should be")


def _result(cell: Cell, probe: str, shown: Shown, night: int, number: int) -> Result:
    day = FIRST + dt.timedelta(days=night)
    foreseen = (cell.release.engine, cell.model.id, probe) == EXPECTED and shown.status.blames_engine
    return Result(
        schema_version=SCHEMA_VERSION,
        cell=cell,
        cell_id=cell.id,
        probe=probe,
        probe_version=1,
        tier="smoke",
        verdict=Verdict(
            status=shown.status, reason=shown.reason, numbers=shown.numbers, curves=shown.curves,
            evidence={"log tail": shown.log_tail} if shown.log_tail else {},
            expected=shown.status if foreseen else Status.PASS,
            expected_reason="A choice of its makers." if foreseen else "",
        ),
        provenance=Provenance(
            run_id=f"{day:%Y%m%d}T220000Z-{night:06x}",
            started_at=dt.datetime.combine(day, dt.time(22), dt.UTC) + dt.timedelta(seconds=number),
            seconds=1.5,
            harness_version="0.1.0",
            release_id=cell.release.id,
            build="official",
            build_note="",
            engine_version=cell.release.version,
            requirements_sha256="ab" * 32,
            image_digest=None,
            model_digest="cd" * 32,
            machine="a processor, 2 cores, 8 GiB, Linux",
            night=f"{day:%Y%m%d}",
        ),
        measurement=None if shown.status in UNMEASURED else f"{probe}.measurement.json",
    )  # fmt: skip
