"""Fixtures of our own tests."""

from __future__ import annotations

import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from probes import client, correctness, loading, throughput
from probes.tables import matrix as packaged
from runners import cache, daemon, environments, images
from runners.engine import Environment
from runners.images import Ready
from tests.fake_engine import bench, whole_matrix
from tests.probes.reference_runs import Runs, runs

# No timing decides a test: a busy machine is slow in drawing the first example, too.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]

REQUEST_DEADLINE_S = 1.5
DEATH_WATCH_S = 0.5

REQUIRE = "READINESS_REQUIRE"
"""Environment variable: kinds of things (`engine`, `browser`, `docker`) whose absence fails a test, not skips it."""

_SKIPPED: dict[str, list[str]] = {}
"""Tests that were left out, by reason."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _SKIPPED.setdefault(report.longrepr[2].removeprefix("Skipped: "), []).append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The last lines name what was left out, and why."""
    if not _SKIPPED:
        terminalreporter.write_line("left out: nothing")
    for reason, tests in sorted(_SKIPPED.items()):
        terminalreporter.write_line(f"left out: {len(tests)} test(s): {reason}")


def absent(kind: str, what: str, how: str) -> NoReturn:
    """Skip a test whose thing is not here; fail it where that kind of thing is required."""
    message = f"{what} is not here; {how}"
    if required(kind):
        pytest.fail(f"{message} (required by {REQUIRE})", pytrace=False)
    pytest.skip(message)


def required(kind: str) -> bool:
    return kind in os.environ.get(REQUIRE, "").split(",")


def _environment(name: str) -> Environment:
    """An environment that is already built, or is required and built now."""
    built = list((cache.root() / "environments").glob(f"{name}-[0-9a-f]*.json"))
    if not built and not required("engine"):
        absent("engine", f"the environment of {name}", "`make grid` builds it")
    matrix = packaged()
    if name in matrix.releases:
        return environments.environment_of(matrix.releases[name], matrix.folder)
    return environments.build(name, matrix.path(f"requirements/{name}.txt"))


@pytest.fixture(scope="session")
def reference_python() -> Path:
    """The Python of the reference's environment."""
    return _environment("reference-5.23.0").python


@pytest.fixture(scope="session")
def reference_program(reference_python: Path) -> Iterator[Runs]:
    """The reference program, called as often as needed."""
    with runs(reference_python) as program:
        yield program


@pytest.fixture(scope="session")
def environment_of() -> Callable[[str], Environment]:
    """The environment of any release."""
    return _environment


@pytest.fixture(scope="session")
def vllm_environment() -> Environment:
    return _environment("vllm-0.32.0")


@pytest.fixture(scope="session")
def llama_cpp_python_environment() -> Environment:
    return _environment("llama-cpp-python-0.3.36")


@pytest.fixture(scope="session")
def chromium() -> tuple[Path, Path]:
    """Chromium and its driver."""
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if browser is None or driver is None:
        absent("browser", "Chromium with its driver", "install chromium and chromium-driver")
    return Path(browser), Path(driver)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes that wait seconds where a run waits minutes."""
    monkeypatch.setattr(client, "DEATH_WATCH_S", DEATH_WATCH_S)
    soon = functools.partial(client.connect, deadline_s=REQUEST_DEADLINE_S)
    for probe in (loading, correctness, throughput):
        monkeypatch.setattr(probe, "connect", soon)


@pytest.fixture(scope="session")
def fake_image() -> Ready:
    """An image with Python and NumPy for the fake engine: that of the smallest real engine."""
    if daemon.version() is None:
        absent("docker", "a Docker daemon", "install Docker Engine and start dockerd")
    matrix = packaged()
    release = matrix.releases["transformers-5.23.0"]
    with daemon.connected() as client:
        if not required("docker") and not any(name == release.id for name, _, _ in images.tags(client)):
            absent("docker", f"the image of {release.id}", "`readiness images build` makes it")
        return images.build(client, release, matrix.folder)


@pytest.fixture
def mark() -> Iterator[str]:
    """A word by which the processes of this test are known; whatever a failing test leaves is ended."""
    word = uuid.uuid4().hex
    try:
        yield word
    finally:
        for process in bench.marked(word):
            process.kill()


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("READINESS_CACHE", str(folder))
    return folder


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A matrix folder of our own: two releases of the fake engine, one model."""
    return whole_matrix.write(tmp_path / "matrix")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(shared_cache: Path, mark: str) -> dict[str, str]:
    """What the command sees: the fake engine, a cache of the tests' own, and a wide terminal."""
    added = {
        "READINESS_ENGINES": "tests.fake_engine.whole_run",
        "READINESS_CACHE": str(shared_cache),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "250",
    }
    return {**os.environ, **added, bench.MARK: mark}
