"""Images: official ones by tag and digest; for CPUs, ones built here from the locks of the virtual environments."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import tomlkit
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.images import Image as DockerImage
from filelock import FileLock

from matrix.cells import Cell, Image, Record, Release
from matrix.errors import Infrastructure, WrongInput
from matrix.results import write_bytes
from runners import build_context, cache, daemon
from runners.environments import Say

HERE = Path(__file__).parent / "images"

OFFICIAL_BASE = "python:3.11-slim-bookworm"
LOCAL_BASE = "readiness/base:bookworm"
"""Made with debootstrap where no registry gives the official one."""

BASE = "READINESS_BASE_IMAGE"
"""Environment variable that names another base."""

BASE_PACKAGES = "python3,python3-venv,ca-certificates"
REPOSITORY = "readiness"
KIND = "images"
"""Their kind in the cache, which counts them and says when they were last used."""

BUILT_LABEL = "readiness.release"
STAGE_LABEL = "readiness.stage"
"""Of the stage that an image's packages were installed in: kept, so that another pin does not fetch torch again."""

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Ready(Record, frozen=True, kw_only=True):
    """An image on this machine."""

    name: str
    """Tag, or repository with digest."""
    id: str
    """What is run: the daemon's own name of exactly this image."""
    digest: str
    """What is published: the registry's digest, or the id of an image that no registry holds."""
    python: str
    """The interpreter inside."""
    user: str | None
    """None: whom the image names."""
    requirements_sha256: str | None = None
    """Of the lock that it was built from."""


def ready(client: docker.DockerClient, cell: Cell, folder: Path, say: Say) -> Ready:
    """The image of a cell's release for its device, built or pulled where it is not here; raises Infrastructure."""
    found = pull(client, cell.image, say) if cell.image else build(client, cell.release, folder, say)
    cache.note(KIND, _key(found.name), label=found.name, size=client.images.get(found.id).attrs["Size"])
    return found


def forget(entry: cache.Entry) -> None:
    """Remove the image that an entry of the cache stands for, its stages and compiled kernels; one in use stays."""
    with daemon.connected() as client, daemon.blamed(f"image {entry.label} cannot be removed"), suppress(ImageNotFound):
        image = client.images.get(entry.label)
        client.images.remove(entry.label)
        _remove_kernels(client, str(image.id))
        if BUILT_LABEL in image.labels:
            _tidy(client, image.labels[BUILT_LABEL], stages_kept=0)


def _remove_kernels(client: docker.DockerClient, image_id: str) -> None:
    with suppress(NotFound):
        client.volumes.get(kernels_volume(image_id)).remove()


def kernels_volume(image_id: str) -> str:
    """The name of the volume of an image's compiled kernels."""
    return f"readiness-kernels-{image_id.removeprefix('sha256:')[:16]}"


def _key(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


# --- official ---------------------------------------------------------------------------------------------


def pull(client: docker.DockerClient, image: Image, say: Say = lambda line: None) -> Ready:
    """An official image: by digest where one is pinned, and then a local copy will do; else its tag, asked anew."""
    name = image.name
    try:
        found = client.images.get(name) if image.digest else None
    except ImageNotFound:
        found = None
    if found is None:
        with daemon.blamed(f"image {name} cannot be pulled"):
            _pull(client, name, say)
            found = client.images.get(name)
    digests = [digest.partition("@")[2] for digest in found.attrs.get("RepoDigests") or []]
    return Ready(
        name=name, id=found.id, digest=digests[0] if digests else found.id, python=image.python, user=image.user
    )


def _pull(client: docker.DockerClient, name: str, say: Say) -> None:
    done: dict[str, tuple[int, int]] = {}
    for event in client.api.pull(*_repository(name), stream=True, decode=True):
        if "error" in event:
            raise NotFound(event["error"])
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            done[event["id"]] = detail["current"], detail["total"]
            current, total = (sum(pair[side] for pair in done.values()) / 2**20 for side in (0, 1))
            say(f"pulling {name}: {current:.0f} of {total:.0f} MiB in {len(done)} layers")


def _repository(name: str) -> tuple[str, str]:
    """Repository, and tag or digest."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    repository, _, tag = name.rpartition(":")
    return (repository, tag) if repository and "/" not in tag else (name, "latest")


def pin(client: docker.DockerClient, table: Path, release_ids: Iterable[str]) -> list[str]:
    """Ask the registry for the digest of each official image's tag and write it beside the tag; returns what changed.

    Releases are named by id; none named: all that have an image. Raises Infrastructure, and writes nothing, where a
    registry does not answer.
    """
    wanted = set(release_ids)
    document = tomlkit.parse(table.read_text())
    releases: Any = document["release"]
    named = {f"{release['engine']}-{release['version']}": release for release in releases}
    unknown = [name for name in wanted if name not in named or "image" not in named[name]]
    if unknown:
        raise WrongInput(f"{table.name}: no release with an image: {', '.join(unknown)}")
    changed = []
    for name, release in named.items():
        if "image" in release and (not wanted or name in wanted):
            tag = str(release["image"]["tag"])
            with daemon.blamed(f"the registry gives no digest of {tag}"):
                digest = client.images.get_registry_data(tag).id
            if release["image"].get("digest") != digest:
                release["image"]["digest"] = digest
                changed.append(f"{name}: {tag} is {digest}")
    if changed:
        write_bytes(table, tomlkit.dumps(document).encode())
    return changed


# --- built here -------------------------------------------------------------------------------------------


def build(
    client: docker.DockerClient, release: Release, folder: Path, say: Say = lambda line: None, *, afresh: bool = False
) -> Ready:
    """The image of a release's lock, built unless it is here; raises Infrastructure with the builder's last words.

    `afresh` builds it anyway, and from nothing.
    """
    if release.requirements is None:
        raise Infrastructure(f"{release.id} has neither an official image for this device nor a requirement file")
    if not _dockerfile(release, folder).is_file():
        raise Infrastructure(f"{release.engine} has no Dockerfile in runners/images/, so no image can be built")
    tag = _tag(release, folder)
    lock = cache.root() / KIND / f"{_key(tag)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock), daemon.blamed(f"the image of {release.id} cannot be built"):
        if afresh or not _is_here(client, tag):
            _build(client, release, folder, tag, say, afresh)
        found = client.images.get(tag)
    text = (folder / release.requirements).read_bytes()
    return Ready(
        name=tag, id=found.id, digest=found.id, python="/opt/engine/bin/python", user=own_user(),
        requirements_sha256=hashlib.sha256(text).hexdigest(),
    )  # fmt: skip


def own_user() -> str:
    """Whom our images run as: the caller, so that private checkpoints are readable; never root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def tags(client: docker.DockerClient) -> list[tuple[str, str, int]]:
    """(release id, tag, bytes) of the images built here."""
    found = client.images.list(filters={"label": BUILT_LABEL})
    return [
        (image.labels[BUILT_LABEL], tag, image.attrs["Size"])
        for image in found
        for tag in image.tags
        if tag.startswith(f"{REPOSITORY}/")
    ]


def _dockerfile(release: Release, folder: Path) -> Path:
    """The one in the matrix folder, for an engine of one's own, else ours."""
    own = folder / "images" / release.engine / "Dockerfile"
    return own if own.is_file() else HERE / release.engine / "Dockerfile"


def _tag(release: Release, folder: Path) -> str:
    assert release.requirements is not None
    dockerfile = _dockerfile(release, folder).read_bytes()
    lock = (folder / release.requirements).read_bytes()
    recipe = repr((lock, dockerfile, release.build_from_source, sorted(release.build_env.items()), _wanted_base()))
    return f"{REPOSITORY}/{release.engine}:{release.version}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def _build(client: docker.DockerClient, release: Release, folder: Path, tag: str, say: Say, afresh: bool) -> None:
    base = _base(client, say)
    assert release.requirements is not None
    lock = (folder / release.requirements).read_text()
    with (
        build_context.written(client, release, lock, _dockerfile(release, folder), base) as context,
        daemon.connected(daemon.BUILD_DEADLINE_S) as patient,
    ):
        events = patient.api.build(
            path=str(context), tag=tag, rm=True, forcerm=True, nocache=afresh, decode=True, network_mode="host",
            buildargs={"BASE": base, "TORCH_SOURCE": " ".join(build_context.torch_source()), "RELEASE": release.id},
            labels={BUILT_LABEL: release.id},
        )  # fmt: skip
        _follow(events, release, say)
    _tidy(client, release.id, stages_kept=1)


def _tidy(client: docker.DockerClient, release_id: str, *, stages_kept: int) -> None:
    """Remove what a release's earlier builds left without a name: images that were built again, and their stages."""
    replaced = _nameless(client, f"{BUILT_LABEL}={release_id}")
    stages = _nameless(client, f"{STAGE_LABEL}={release_id}")
    for image in replaced + stages[stages_kept:]:
        with suppress(APIError):  # one that a container still uses stays until the next time
            client.images.remove(image.id)
            _remove_kernels(client, str(image.id))


def _nameless(client: docker.DockerClient, label: str) -> list[DockerImage]:
    """Images without a tag, newest first."""
    found = client.images.list(filters={"label": label, "dangling": True})
    return sorted(found, key=lambda image: str(image.attrs["Created"]), reverse=True)


def _follow(events: Iterable[dict[str, Any]], release: Release, say: Say) -> None:
    lines: list[str] = []
    for event in events:
        text = ANSI.sub("", str(event.get("stream") or event.get("error") or "")).strip()
        if text:
            lines.append(text)
            say(text.splitlines()[-1][:100])
        if "error" in event:
            error = Infrastructure(f"the image of {release.id} cannot be built: {text[:300]}")
            error.add_note("\n".join(lines[-100:]))
            raise error


# --- the base ---------------------------------------------------------------------------------------------


def _wanted_base() -> str:
    return os.environ.get(BASE, OFFICIAL_BASE)


def _base(client: docker.DockerClient, say: Say) -> str:
    """The base image's name: as wanted if it is here or can be pulled, else one made with debootstrap."""
    wanted = _wanted_base()
    fallback = LOCAL_BASE if wanted == OFFICIAL_BASE else None
    here = next((name for name in (wanted, fallback) if name and _is_here(client, name)), None)
    if here is not None:
        return here
    try:
        _pull(client, wanted, say)
    except APIError as error:
        if fallback is None:
            raise
        _bootstrap(client, say, daemon.reason(error))
        return LOCAL_BASE
    return wanted


def _is_here(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _bootstrap(client: docker.DockerClient, say: Say, why: str) -> None:
    """Debian with Python as an image, from Debian's own packages; needs root."""
    tool = shutil.which("debootstrap")
    if tool is None or os.getuid() != 0:
        raise Infrastructure(
            f"{OFFICIAL_BASE} cannot be pulled ({why}); install debootstrap and be root, or set {BASE}"
        )
    say("making a base image with debootstrap")
    with tempfile.TemporaryDirectory(prefix="readiness-base-") as name:
        root, archive = Path(name) / "root", Path(name) / "root.tar"
        for command in (
            (tool, "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", str(root)),
            ("tar", "-C", str(root), "-cf", str(archive), "."),
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=daemon.BUILD_DEADLINE_S)
            if done.returncode != 0:
                raise Infrastructure(f"{command[0]} exited with code {done.returncode}: {done.stdout[-300:]}")
        repository, tag = LOCAL_BASE.split(":")
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag)
