"""Virtual environments from locks, built by the real uv out of wheels made here; nothing is fetched."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from matrix.cells import Release
from matrix.errors import Infrastructure
from runners import environments
from runners.engine import Environment
from tests.runners.wheels import wheel

WHEEL = "tiny-1.0-py3-none-any.whl"


@pytest.fixture
def wheels(tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, the only place that uv may look at."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    wheel(folder / WHEEL, "tiny", "1.0")
    return folder


def lock(wheels: Path, *, digest: str | None = None, comment: str = "") -> Path:
    digest = digest or hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest()
    path = wheels.parent / "lock.txt"
    path.write_text(f"# made by hand{comment}\ntiny==1.0 \\\n    --hash=sha256:{digest}\n")
    return path


def runs(environment: Environment, code: str) -> str:
    done = subprocess.run(
        [environment.python, "-P", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def test_an_environment_holds_what_its_lock_says(wheels: Path) -> None:
    """The environment runs what its lock names, and is known by the lock's hash."""
    requirements = lock(wheels)
    environment = environments.build("tiny-1.0", requirements)
    assert runs(environment, "import tiny; print(tiny.__version__)") == "1.0\n"
    assert environment.requirements_sha256 == hashlib.sha256(requirements.read_bytes()).hexdigest()


def test_an_environment_is_reused_until_its_lock_changes(wheels: Path) -> None:
    """The same lock gives the same environment without a tool run; another lock, another environment."""
    said: list[str] = []
    first = environments.build("tiny-1.0", lock(wheels), say=said.append)
    assert said
    said.clear()
    assert environments.build("tiny-1.0", lock(wheels), say=said.append) == first
    assert said == []
    assert environments.build("tiny-1.0", lock(wheels, comment=", again")).folder != first.folder


def test_a_wrong_hash_is_refused(wheels: Path) -> None:
    """A package that is not the one that was locked is not installed; uv's words are the evidence."""
    with pytest.raises(Infrastructure) as caught:
        environments.build("tiny-1.0", lock(wheels, digest="0" * 64))
    assert str(caught.value).startswith("uv pip exited with code 1: ")
    assert "Hash mismatch for `tiny==1.0`" in "".join(caught.value.__notes__)


def test_a_wrong_hash_is_called_by_its_name(wheels: Path) -> None:
    """The one sentence of the error says what is wrong with which package, not only two numbers."""
    with pytest.raises(Infrastructure) as caught:
        environments.build("tiny-1.0", lock(wheels, digest="0" * 64))
    assert "Hash mismatch for `tiny==1.0`" in str(caught.value)


def test_a_lock_without_hashes_is_refused(wheels: Path) -> None:
    """A requirement without a hash is no lock."""
    path = lock(wheels)
    path.write_text("tiny==1.0\n")
    with pytest.raises(Infrastructure, match="hash"):
        environments.build("tiny-1.0", path)


def test_a_lock_that_cannot_be_met_fails_with_the_tools_words(wheels: Path) -> None:
    """A version that is nowhere is our error, in uv's words, and the failed environment is no entry."""
    path = lock(wheels)
    path.write_text(path.read_text().replace("1.0", "2.0"))
    for _ in range(2):
        with pytest.raises(Infrastructure, match=r"uv pip exited with code 1: .*tiny"):
            environments.build("tiny-2.0", path)


def test_a_release_without_a_lock_has_no_environment(tmp_path: Path) -> None:
    """The venv launcher says what is missing."""
    release = Release(engine="fake", version="0.0.1", channel="stable", build="official")
    with pytest.raises(Infrastructure, match=r"fake-0\.0\.1 has no requirement file"):
        environments.environment_of(release, tmp_path)


def test_pips_places_are_said_to_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip's variables say is passed on to uv, unless uv has its own; PYTHONPATH is not."""
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PYTHONPATH", "/ours")
    seen = environments.tool_environment()
    assert seen["UV_FIND_LINKS"] == "/wheels"
    assert seen["UV_DEFAULT_INDEX"] == "https://own.example/simple"
    assert "PYTHONPATH" not in seen
