"""What an image is built from: a release's lock in its parts, and the tools and wheels of this machine."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from uv import find_uv_bin

from matrix.cells import Release
from matrix.errors import Infrastructure
from runners import daemon, environments, owner


@contextmanager
def written(client: docker.DockerClient, release: Release, lock: str, dockerfile: Path, base: str) -> Iterator[Path]:
    """A folder with the Dockerfile, locks/ and tools/, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="readiness-build-") as name:
        context = Path(name)
        shutil.copy(dockerfile, context)
        _write_locks(context / "locks", lock, release)
        tools = context / "tools"
        (tools / "wheels").mkdir(parents=True)
        (tools / "source").mkdir()
        shutil.copy(find_uv_bin(), tools / "uv")
        shutil.copy(_certificates(), tools / "ca.crt")
        for wheel in _local_wheels():
            shutil.copy(wheel, tools / "wheels")
        for wheel in _compiled(client, release, lock, base):
            shutil.copy(wheel, tools / "source")
        yield context


def torch_source() -> tuple[str, ...]:
    """Where uv takes torch from inside: the wheels of this machine, else PyTorch's CPU index."""
    return ("--find-links", "/tools/wheels") if _local_wheels() else ("--torch-backend", "cpu")


def _write_locks(locks: Path, text: str, release: Release) -> None:
    locks.mkdir()
    torch = environments.only(text, "torch") if "\ntorch==" in f"\n{text}" else ""
    source = "".join(environments.only(text, name) for name in release.build_from_source)
    (locks / "torch.txt").write_text(torch)
    (locks / "rest.txt").write_text(environments.without(text, ("torch", *release.build_from_source)))
    (locks / "source.txt").write_text(source)
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(release.build_env.items())]
    (locks / "build.env").write_text("".join(exports))


def _certificates() -> Path:
    """The certificates that this machine trusts: a proxy in between may have its own."""
    named = (os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"))
    places = [*filter(None, named), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
    found = next((Path(place) for place in places if Path(place).is_file()), None)
    if found is None:
        raise Infrastructure("no certificates on this machine: install ca-certificates, or set SSL_CERT_FILE")
    return found


def _local_wheels() -> list[Path]:
    """Wheels of torch in the folders that pip's and uv's find-links name."""
    given = environments.tool_environment().get("UV_FIND_LINKS", "").replace(",", " ").split()
    return [wheel for place in given if Path(place).is_dir() for wheel in sorted(Path(place).glob("torch-*.whl"))]


def _compiled(client: docker.DockerClient, release: Release, lock: str, base: str) -> list[Path]:
    """Wheels that the venv launcher compiled from the same source, where the image's C library can load them."""
    names = release.build_from_source
    found = [wheel for name in names for wheel in environments.compiled_wheels(name, lock, release.build_env)]
    return found if found and _libc(platform.libc_ver()[1]) <= _libc(_libc_of(client, base)) else []


def _libc_of(client: docker.DockerClient, base: str) -> str:
    program = "import platform; print(platform.libc_ver()[1])"
    labels = {daemon.LABEL: owner.label("images")}
    said = client.containers.run(base, ["python3", "-c", program], remove=True, network_mode="none", labels=labels)
    return str(said.decode().strip())


def _libc(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
