"""Releases of engines that the tables lack: what the package index has, and which images registries have for them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

import docker
import msgspec
from docker.errors import NotFound
from packaging.version import InvalidVersion, Version

from matrix.cells import Image, Release
from matrix.discover import NewRelease
from matrix.load import Matrix
from matrix.watch import Nightly
from runners import daemon, releases

Digest = Callable[[str], str | None]
"""The digest behind a tag, None where the registry has no such tag; raises Infrastructure where it does not answer."""


def digests(client: docker.DockerClient) -> Digest:
    """As registries tell a daemon, which fetches nothing for it."""

    def digest(tag: str) -> str | None:
        with daemon.blamed(f"the registry gives no digest of {tag}"):
            try:
                return str(client.images.get_registry_data(tag).id)
            except NotFound:
                return None

    return digest


def of_engine(matrix: Matrix, engine: str, digest: Digest | None) -> NewRelease | None:
    """The newest stable release of an engine on the package index, where the tables have none as new.

    `digest`: None where no daemon can ask a registry. Raises Infrastructure where the index or a registry does not
    answer, and WrongInput where nothing says what the index calls the engine.
    """
    stable = releases.stable(matrix, engine)
    locked = [one for one in stable if one.requirements is not None]
    if not locked:
        return None
    like = max(locked, key=_order)
    name = releases.distribution(like, matrix.folder)
    newest = releases.published(like.dated_by or name)[-1]
    if Version(newest.version) <= _order(like):
        return None
    installable = like.dated_by is None or newest.version in [one.version for one in releases.published(name)]
    known = any(one.version == newest.version for one in stable)
    entry, about_image = (None, "") if known else _of_image(like, newest.version, newest.released, digest)
    said = (_about_lock(like, name, newest.version, installable), about_image)
    return NewRelease(
        engine=engine, version=newest.version, released=newest.released, said=tuple(filter(None, said)), entry=entry
    )


def of_tag(matrix: Matrix, nightly: Nightly, digest: Digest, day: dt.date) -> NewRelease | None:
    """Tonight's image of an engine, where the tables have another; raises Infrastructure as `digest` does."""
    known = {one.image.digest for one in matrix.releases.values() if one.image and one.engine == nightly.engine}
    found = digest(nightly.tag)
    if found is None or found in known:
        return None
    tag = nightly.tag.rpartition(":")[2]
    entry = _release(
        {
            "engine": nightly.engine,
            "version": f"nightly-{day:%Y%m%d}",
            "channel": "nightly",
            "build": "official",
            "build_note": f"What the tag {tag} was on {day}.",
            "released": day,
            "device_kinds": (),
            "image": nightly.image(found),
        }
    )
    return NewRelease(
        engine=nightly.engine,
        version=entry.version,
        released=day,
        said=(f"The tag {tag} is {found}. It takes the place of the last nightly.",),
        entry=entry,
    )


def _order(release: Release) -> Version:
    try:
        return Version(release.version)
    except InvalidVersion:
        return Version("0")


def _about_lock(like: Release, name: str, version: str, installable: bool) -> str:
    if not installable:
        return f"It needs a lock, and {name}, which is installed in its place, has no {version} yet."
    old, new = like.id, f"{like.engine}-{version}"
    return (
        f"It needs a lock: copy requirements/{old}.in to requirements/{new}.in with {version} in it, and run "
        f"`python -m runners.lock {new}`."
    )


def _of_image(like: Release, version: str, released: dt.date, digest: Digest | None) -> tuple[Release | None, str]:
    """The release as an image alone, and what is to be said of it."""
    image = releases.image_of(like, version)
    if image is None:
        return None, ""
    if digest is None:
        return None, f"No Docker daemon was there to ask for the digest of {image.tag}."
    found = digest(image.tag)
    if found is None:
        return None, f"The registry has no {image.tag} yet."
    image = msgspec.structs.replace(image, digest=found)
    try:
        return _image_release(like, image, version, released), f"Its image {image.tag} is in, by its digest."
    except msgspec.ValidationError:
        return None, f"{image.tag} is none that the tables can name."


def _image_release(like: Release, image: Image, version: str, released: dt.date) -> Release:
    return _release(
        {
            "engine": like.engine,
            "version": version,
            "channel": "stable",
            "build": "official",
            "released": released,
            "device_kinds": (),
            "image": image,
            "cap_add": like.cap_add,
        }
    )


def _release(fields: Mapping[str, object]) -> Release:
    """Checked as a table would be."""
    return msgspec.convert(msgspec.to_builtins(fields, builtin_types=(dt.date,)), Release)
