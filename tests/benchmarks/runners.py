"""`make bench-runners`: what a container costs over a virtual environment. Writes docs/runners.md from what it saw.

Needs a Docker daemon and the environments of `make grid`. Times are medians of repeats, with their spread, on whatever
machine this is: only ratios and differences within one run mean something.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec.structs import replace

from matrix.cells import Record, Release
from matrix.load import Matrix
from probes import tables
from probes.provenance import machine
from runners import daemon, docker, environments, http, images, limits, venv
from runners.engine import Server
from runners.images import Ready
from tests.fake_engine import bench
from tests.fake_engine.adapter import fake_engine

TARGET = Path(__file__).parents[2] / "docs" / "runners.md"
STARTS = 7
REQUESTS = 500
KILLS = 20
GOAL_S = 2.0


class Build(Record, frozen=True, kw_only=True):
    """One image."""

    release: str
    cold_s: float
    warm_s: float
    size: int


class Measured(Record, frozen=True, kw_only=True):
    """Everything that the page shows."""

    engine: str
    """Version of the daemon."""
    starts_s: dict[str, list[float]]
    """From launch to healthy, by launcher."""
    stops_s: dict[str, list[float]]
    requests_ms: dict[str, list[float]]
    """One small request, by launcher."""
    builds: list[Build]
    kills: str
    """The last line of the repeated kill tests."""
    kills_passed: bool


def main() -> None:
    """Measure, print and write the page."""
    page = document(measure(), dt.datetime.now(dt.UTC))
    print(page)
    TARGET.write_text(page)


def measure() -> Measured:
    """Everything, one after another, so that nothing disturbs anything."""
    matrix = tables.matrix()
    builds = [built(matrix, release) for release in matrix.releases.values() if release.requirements]
    release = matrix.releases["transformers-5.23.0"]
    with daemon.connected() as client:
        image = images.build(client, release, matrix.folder)
    environment = environments.environment_of(release, matrix.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = replace(bench.spec(), environment=environment, model_path=folder, label="bench-runners")
        launchers: dict[str, Callable[[], AbstractContextManager[Server]]] = {
            "venv": lambda: venv.launch(fake_engine(), replace(spec, port=venv.free_port()), folder / "log"),
            "docker": lambda: docker.launch(
                fake_engine(), spec, folder / "log", image, limits.limits(bench.CELL, 0)
            ),
        }  # fmt: skip
        timed = {name: [cycle(launch) for _ in range(STARTS)] for name, launch in launchers.items()}
        asked = {name: requests(launch) for name, launch in launchers.items()}
    passed, line = kills()
    return Measured(
        engine=daemon.version() or "none",
        starts_s={name: [start for start, _ in pairs] for name, pairs in timed.items()},
        stops_s={name: [stop for _, stop in pairs] for name, pairs in timed.items()},
        requests_ms=asked,
        builds=builds,
        kills=line,
        kills_passed=passed,
    )


def built(matrix: Matrix, release: Release) -> Build:
    """One image from nothing, then once more with every layer at hand."""

    def once(afresh: bool) -> tuple[float, Ready]:
        started = time.monotonic()
        with daemon.connected() as client:
            ready = images.build(client, release, matrix.folder, afresh=afresh)
        return time.monotonic() - started, ready

    print(f"building {release.id} from nothing", flush=True)
    cold_s, _ = once(True)
    warm_s, ready = once(False)
    with daemon.connected() as client:
        size = client.images.get(ready.id).attrs["Size"]
    return Build(release=release.id, cold_s=cold_s, warm_s=warm_s, size=size)


def cycle(launch: Callable[[], AbstractContextManager[Server]]) -> tuple[float, float]:
    """Seconds from launch to healthy, and from there to gone."""
    with launch() as server:
        ready_s, stopping = server.startup_s, time.monotonic()
    return ready_s, time.monotonic() - stopping


def requests(launch: Callable[[], AbstractContextManager[Server]]) -> list[float]:
    """Milliseconds of each of many small requests, a connection each."""
    spent = []
    with launch() as server:
        for _ in range(REQUESTS):
            started = time.monotonic()
            assert http.answers(server.base_url + "/health", socket=server.socket)
            spent.append((time.monotonic() - started) * 1e3)
    return spent


def kills() -> tuple[bool, str]:
    """The tests that kill the harness, each repeated; nothing may be left of any."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/runners/test_docker.py", "-k", "after_a_signal or orphans"]
    done = subprocess.run(
        command, cwd=TARGET.parents[1], env={**os.environ, "READINESS_KILLS": str(KILLS)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0, (done.stdout.strip().splitlines() or [""])[-1]


def document(measured: Measured, made_at: dt.datetime) -> str:
    """The page."""
    extra = statistics.median(measured.starts_s["docker"]) - statistics.median(measured.starts_s["venv"])
    rows = [
        f"| {name} | {spread(measured.starts_s[name])} | {spread(measured.stops_s[name])} | "
        f"{spread(measured.requests_ms[name])} |"
        for name in measured.starts_s
    ]
    builds = [
        f"| {build.release} | {build.cold_s:.0f} s | {build.warm_s:.1f} s | {build.size / 2**30:.2f} GiB |"
        for build in measured.builds
    ]
    return "\n".join(
        (
            "# What a container costs",
            "",
            f"Measured by `make bench-runners` on {made_at:%Y-%m-%d}: {machine()}; Docker Engine {measured.engine}.",
            "",
            f"The fake engine, whose own start is the same in both; {STARTS} launches and {REQUESTS} requests each,",
            "median and median absolute deviation:",
            "",
            "| launcher | launch to healthy, s | healthy to gone, s | one small request, ms |",
            "|---|---|---|---|",
            *rows,
            "",
            f"A container takes {extra:.2f} s longer to become healthy; the goal was under {GOAL_S:.0f} s more: "
            f"{'met' if extra < GOAL_S else 'missed'}.",
            "",
            "Images from the locks, built from nothing (base image at hand), and asked for again:",
            "",
            "| release | cold | warm | size |",
            "|---|---|---|---|",
            *builds,
            "",
            f"The harness killed by SIGTERM, Ctrl-C and -9, {KILLS} times each, with containers, volumes and folders",
            f"counted afterwards: {'nothing was left' if measured.kills_passed else 'SOMETHING WAS LEFT'} "
            f"(`{measured.kills}`).",
            "",
        )
    )


def spread(samples: Sequence[float]) -> str:
    """Median and median absolute deviation."""
    middle = statistics.median(samples)
    return f"{middle:.2f} ± {statistics.median(abs(sample - middle) for sample in samples):.2f}"


if __name__ == "__main__":
    main()
