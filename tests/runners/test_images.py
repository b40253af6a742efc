"""Images, with a real registry on loopback and daemons of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker import DockerClient

from matrix.cells import Image, Release
from matrix.errors import Infrastructure, WrongInput
from matrix.load import PACKAGED
from runners import cache, daemon, docker, http, images, venv
from runners.images import Ready
from tests.conftest import absent
from tests.fake_engine.adapter import fake_engine
from tests.runners.test_docker import ENOUGH, in_container

pytestmark = pytest.mark.docker

TABLE = """
# Comments stay.
[[release]]
engine = "fake"
version = "0.0.1"
channel = "stable"
build = "official"

[release.image]
tag = "{tag}" # the official one
device_kinds = ["cuda"]
"""

UNKNOWN = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of ours, without any image in it; returns host:port."""
    program = shutil.which("docker-registry")
    if program is None:
        absent("docker", "a registry", "install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    port = venv.free_port()
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: http.answers(f"http://127.0.0.1:{port}/v2/"))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def published(registry: str) -> Iterator[tuple[str, str]]:
    """A tiny image in that registry and nowhere else: (tag, digest)."""
    tag = f"{registry}/fake/engine:v1"
    with daemon.connected() as client:
        client.api.import_image_from_data(b"\0" * 10240, repository=f"{registry}/fake/engine", tag="v1")
        client.images.push(f"{registry}/fake/engine", tag="v1")
        digest = client.images.get_registry_data(tag).id
        client.images.remove(tag)
        yield tag, digest
        for image in client.images.list(name=f"{registry}/fake/engine"):
            client.images.remove(image.id, force=True)


def wait_until(holds: object, within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_tag_is_pulled_and_its_digest_recorded(published: tuple[str, str]) -> None:
    """What ran is known by the registry's digest, though only a tag was asked for."""
    tag, digest = published
    with daemon.connected() as client:
        pulled = images.pull(client, Image(tag=tag, device_kinds=("cuda",)))
    assert pulled.digest == digest
    assert pulled.name == tag


def test_a_pinned_image_is_pulled_by_digest(published: tuple[str, str]) -> None:
    """With a digest, the tag is not asked for any more."""
    tag, digest = published
    pinned = Image(tag=tag.replace("v1", "moved-away"), digest=digest, device_kinds=("cuda",))
    with daemon.connected() as client:
        assert images.pull(client, pinned).digest == digest


@pytest.mark.parametrize("missing", [{"tag": "v2"}, {"tag": "v1", "digest": UNKNOWN}], ids=["image", "digest"])
def test_what_the_registry_lacks_is_our_error(missing: dict[str, str], registry: str) -> None:
    """A tag or digest that is not there is ours, and is named."""
    image = Image(tag=f"{registry}/fake/engine:{missing['tag']}", digest=missing.get("digest"), device_kinds=("cuda",))
    with daemon.connected() as client, pytest.raises(Infrastructure, match="cannot be pulled") as raised:
        images.pull(client, image)
    assert image.name in str(raised.value)


def test_pin_writes_what_the_registry_says(published: tuple[str, str], tmp_path: Path) -> None:
    """The digest is written beside the tag and nothing else changes; a second time there is nothing to do."""
    tag, digest = published
    table = tmp_path / "engines.toml"
    table.write_text(TABLE.format(tag=tag))
    with daemon.connected() as client:
        assert images.pin(client, table, ()) == [f"fake-0.0.1: {tag} is {digest}"]
        assert table.read_text() == TABLE.format(tag=tag) + f'digest = "{digest}"\n'
        assert images.pin(client, table, ["fake-0.0.1"]) == []
        with pytest.raises(WrongInput, match=r"no release with an image: fake-9"):
            images.pin(client, table, ["fake-9"])


def test_pin_without_a_registry_changes_nothing(tmp_path: Path) -> None:
    """A digest is never invented: where no registry answers, the table stays as it was."""
    table = tmp_path / "engines.toml"
    text = TABLE.format(tag=f"127.0.0.1:{venv.free_port()}/fake/engine:v1")
    table.write_text(text)
    with daemon.connected() as client, pytest.raises(Infrastructure, match="the registry gives no digest"):
        images.pin(client, table, ())
    assert table.read_text() == text


def test_every_engine_with_a_lock_has_a_dockerfile() -> None:
    """An engine that runs in a virtual environment can be built as an image too."""
    engines = {path.name.rpartition("-")[0] for path in (PACKAGED / "requirements").glob("*.in")} - {"reference"}
    assert {path.parent.name for path in images.HERE.glob("*/Dockerfile")} == engines


TWO_STAGES = """
ARG BASE
FROM ${{BASE}} AS build
COPY locks/rest.txt /tmp/
ARG RELEASE
LABEL readiness.stage=${{RELEASE}}
FROM ${{BASE}}
COPY --from=build /tmp/rest.txt /tmp/
ENV EDITION={edition}
"""


def test_builds_leave_one_stage_behind_and_forget_none(
    fake_image: Ready, tmp_path: Path, mark: str, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built twice and then again from nothing: two images and one nameless stage; forgotten, nothing is left."""
    monkeypatch.setenv(images.BASE, fake_image.name)
    release = Release(engine="own", version=mark, channel="stable", build="official", requirements="own.txt")
    (tmp_path / "own.txt").write_text("")
    dockerfile = tmp_path / "images" / "own" / "Dockerfile"
    dockerfile.parent.mkdir(parents=True)
    volumes: list[str] = []
    with daemon.connected() as client:
        for edition, afresh in (("1", False), ("2", False), ("2", True)):
            dockerfile.write_text(TWO_STAGES.format(edition=edition))
            made = images.build(client, release, tmp_path, afresh=afresh)
            client.volumes.create(images.kernels_volume(made.id))
            volumes.append(images.kernels_volume(made.id))
        built = [(tag, size) for name, tag, size in images.tags(client) if name == release.id]
        assert len(built) == 2
        assert len(nameless(client, release)) == 1
        for tag, size in built:
            cache.note(images.KIND, tag.replace("/", "-"), label=tag, size=size)
        for entry, _ in cache.entries():
            images.forget(entry)
        assert [tag for name, tag, _ in images.tags(client) if name == release.id] == []
        assert nameless(client, release) == []
        assert not {volume.name for volume in client.volumes.list()} & set(volumes)


def nameless(client: DockerClient, release: Release) -> list[str]:
    """Images without a tag that a release's builds left."""
    labels = (f"{images.BUILT_LABEL}={release.id}", f"{images.STAGE_LABEL}={release.id}")
    return [image.id for label in labels for image in client.images.list(filters={"label": label, "dangling": True})]


# --- daemons of our own -----------------------------------------------------------------------------------


class OwnDaemon:
    """A dockerd beside the machine's, with its own data, in a network namespace of its own.

    Outside one, a daemon without a bridge would delete the bridge of the machine's.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        self._words = [
            "unshare", "--net", "dockerd", "--host", self.host, "--data-root", str(data),
            "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "docker.pid"), "--bridge=none", "--iptables=false", "--ip6tables=false",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)
        wait_until(lambda: daemon.version() is not None, within_s=60)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)


@contextmanager
def own_daemon(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnDaemon]:
    if shutil.which("dockerd") is None or os.getuid() != 0:
        absent("docker", "dockerd and root", "install Docker Engine and be root")
    # A Unix socket's path must be short, and pytest's folders are not.
    folder.mkdir(parents=True, exist_ok=True)
    found = OwnDaemon(folder, data)
    monkeypatch.setenv("DOCKER_HOST", found.host)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def short(mark: str) -> Iterator[Path]:
    """A folder with a short path."""
    folder = Path("/tmp") / f"rdm-{mark[:8]}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def base_archive(fake_image: Ready, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image, which has Python, as a file for other daemons."""
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    with daemon.connected() as client:
        name = next(one for one in (images.LOCAL_BASE, images.OFFICIAL_BASE) if client.images.list(name=one))
        with archive.open("wb") as file:
            for piece in client.images.get(name).save(named=True):
                file.write(piece)
    return archive


ENDLESS = "import time; print('up', flush=True); time.sleep(120)"


def loaded(archive: Path) -> Ready:
    with daemon.connected(300) as client, archive.open("rb") as file:
        (image,) = client.images.load(file)
    return Ready(name="base", id=image.id, digest=image.id, python="python3", user="1000:1000")


def test_a_daemon_that_restarts_in_mid_run_is_our_error(
    short: Path, base_archive: Path, tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container that it takes down is not a crash of the engine, and nothing of it is left afterwards."""
    with own_daemon(short, short / "data", monkeypatch) as own:
        image = loaded(base_archive)
        engine = fake_engine("bare")
        there = in_container(tmp_path, mark)
        with docker.launch(engine, there, tmp_path / "log", image, ENOUGH) as server:
            assert server.exit_code() is None
            own.stop()
            own.start()
            with pytest.raises(Infrastructure, match="the Docker daemon went away in mid-run"):
                server.exit_code()
        with daemon.connected() as client:
            assert daemon.containers(client) == []


def test_a_full_disk_is_our_error(
    short: Path, base_archive: Path, tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space for an image: ours, in the daemon's words."""
    small = short / "small"
    small.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        with (
            own_daemon(short, small / "data", monkeypatch),
            daemon.connected(300) as client,
            pytest.raises(Infrastructure, match="no space left on device"),
            daemon.blamed("it cannot be loaded"),
        ):
            client.images.load(base_archive.open("rb"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
