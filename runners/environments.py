"""Virtual environments from hashed requirement files, built once with uv and kept by the hash of the lock.

A lock is complete, so it is always installed with `--no-deps --require-hashes`. Index, find-links and certificates
come from the ordinary pip and uv environment variables; where none names a place for torch, uv takes PyTorch's own
CPU index.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from uv import find_uv_bin

from matrix.cells import Release
from matrix.errors import Infrastructure, WrongInput
from runners import cache
from runners.engine import Environment

PYTHON = "3.11"
"""The Python of every engine environment: the one that the locks were resolved for."""

Say = Callable[[str], None]
"""Takes one line of progress."""

INSTALL_DEADLINE_S = 45 * 60


def environment_of(release: Release, folder: Path, say: Say = lambda line: None) -> Environment:
    """The environment of an engine release whose `requirements` lie in `folder`."""
    if release.requirements is None:
        raise Infrastructure(f"{release.id} has no requirement file, so it cannot run in a virtual environment")
    return build(
        release.id,
        folder / release.requirements,
        from_source=release.build_from_source,
        build_env=release.build_env,
        say=say,
    )


def build(
    name: str,
    requirements: Path,
    *,
    from_source: tuple[str, ...] = (),
    build_env: Mapping[str, str] | None = None,
    say: Say = lambda line: None,
) -> Environment:
    """Build or find the environment of one lock; raises Infrastructure with the tool's last words."""
    build_env = dict(build_env or {})
    lock = requirements.read_bytes()
    recipe = repr((lock, from_source, sorted(build_env.items()), PYTHON, platform.machine()))
    key = f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"

    def make(folder: Path) -> None:
        with (folder / "build.log").open("w") as log:
            _make(folder, requirements, from_source, build_env, _Teller(log, say))

    folder = cache.ensure("environments", key, make, label=name, check_files=False)
    return Environment(
        folder=folder, python=folder / "bin" / "python", requirements_sha256=hashlib.sha256(lock).hexdigest()
    )


class _Teller:
    """Runs tools with their output in a log, passing each line on as progress."""

    def __init__(self, log: TextIO, say: Say) -> None:
        self._log = log
        self._say = say

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Run one tool; raises Infrastructure with its last lines unless it exits 0."""
        words = [str(word) for word in command]
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**tool_environment(), **(env or {})},
        )
        lines: list[str] = []
        timer = threading.Timer(INSTALL_DEADLINE_S, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                self._log.write(line)
                self._log.flush()
                self._say(line.strip()[:100])
            code = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
        if code != 0:
            error = Infrastructure(f"{Path(words[0]).name} {words[1]} exited with code {code}: {_last_words(lines)}")
            error.add_note("".join(lines[-100:]))
            raise error


def _make(
    folder: Path, requirements: Path, from_source: tuple[str, ...], build_env: dict[str, str], tell: _Teller
) -> None:
    uv = find_uv_bin()
    tell.run(uv, "venv", "--quiet", "--allow-existing", "--python", PYTHON, folder)
    python = folder / "bin" / "python"
    lock = folder / "requirements.txt"
    text = requirements.read_text()
    lock.write_text(without(text, from_source))
    tell.run(uv, "pip", "install", "--python", python, "--no-deps", "--require-hashes", *_torch_source(), "-r", lock)
    for distribution in from_source:
        line = only(text, distribution)
        archive, source = _source(folder, python, distribution, line, build_env, tell)
        wheel = _wheel(python, distribution, archive, source, build_env, tell)
        tell.run(uv, "pip", "install", "--python", python, "--no-deps", wheel)


def _source(
    folder: Path, python: Path, name: str, line: str, build_env: dict[str, str], tell: _Teller
) -> tuple[Path, Path]:
    """Fetch the source archive with its hash checked, and unpack it to `<environment>/source/<name>`."""
    downloads = folder / "source"
    downloads.mkdir(exist_ok=True)
    wanted = downloads / f"{name}.txt"
    wanted.write_text(line)
    tell.run(
        python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:",
        "--require-hashes", "--dest", downloads, "-r", wanted, env=build_env,
    )  # fmt: skip
    archive = next(downloads.glob(f"{name.replace('-', '_')}-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(downloads, filter="data")
    unpacked = downloads / name
    (downloads / archive.name.removesuffix(".tar.gz")).rename(unpacked)
    return archive, unpacked


def _wheel(python: Path, name: str, archive: Path, source: Path, build_env: dict[str, str], tell: _Teller) -> Path:
    """Compile the wheel once per source and build settings; the build backend is pinned by the same lock."""
    key = _wheel_key(name, cache.stamp(archive).sha256, build_env)

    def compile_into(folder: Path) -> None:
        path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        tell.run(
            python, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--verbose", "--wheel-dir", folder,
            source, env={**build_env, "PATH": path},
        )  # fmt: skip

    folder = cache.ensure("wheels", key, compile_into, label=f"compiled {name}")
    return next(folder.glob("*.whl"))


def _wheel_key(name: str, archive_sha256: str, build_env: Mapping[str, str]) -> str:
    settings = repr((archive_sha256, sorted(build_env.items()), platform.machine(), sys.platform))
    return f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"


def compiled_wheels(name: str, lock: str, build_env: Mapping[str, str]) -> list[Path]:
    """Wheels that were compiled on this machine from the source that a lock names."""
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", only(lock, name))
    folders = [cache.root() / "wheels" / _wheel_key(name, found, build_env) for found in hashes]
    finished = [folder for folder in folders if folder.with_name(f"{folder.name}.json").is_file()]
    return [wheel for folder in finished for wheel in folder.glob("*.whl")]


def tool_environment() -> dict[str, str]:
    """The environment of uv and pip: what pip's variables say, said to uv too."""
    env = dict(os.environ)
    for pip_name, uv_name in (
        ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_CERT", "SSL_CERT_FILE"),
    ):
        if env.get(pip_name) and not env.get(uv_name):
            env[uv_name] = env[pip_name]
    env.pop("PYTHONPATH", None)
    env.pop("VIRTUAL_ENV", None)
    return env


def _torch_source() -> tuple[str, ...]:
    """Where torch comes from: the given places, else PyTorch's own CPU builds; never a CUDA build by accident."""
    given = ("PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_TORCH_BACKEND")
    return () if any(os.environ.get(name) for name in given) else ("--torch-backend", "cpu")


def _blocks(text: str) -> list[str]:
    """A lock's entries, each with its hash lines."""
    return [block for block in re.split(r"(?m)^(?=[^\s#])", text) if block.strip() and not block.startswith("#")]


def only(text: str, distribution: str) -> str:
    """The entry of one distribution in a lock."""
    for block in _blocks(text):
        if block.startswith(f"{distribution}=="):
            return block
    raise WrongInput(f"build_from_source: {distribution!r} is not in the requirement file")


def without(text: str, distributions: tuple[str, ...]) -> str:
    """A lock less some of its entries."""
    names = tuple(f"{name}==" for name in distributions)
    return "".join(block for block in _blocks(text) if not block.startswith(names)) if names else text


def _last_words(lines: list[str]) -> str:
    """The tool's error: from its last line that says so, else its last lines."""
    said = [line.strip() for line in lines if line.strip()]
    starts = [place for place, line in enumerate(said) if re.match(r"error\b|ERROR\b|×", line)]
    return " | ".join(said[starts[-1] :] if starts else said[-3:])[:500] or "(it said nothing)"
