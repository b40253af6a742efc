"""Past releases of an engine: what the package index has, and a matrix in which one of them stands beside today's."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import requests
from packaging.version import InvalidVersion, Version
from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, NoSuchProjectError, PyPISimple

from matrix.cells import Cell, Image, Profile, Record, Release
from matrix.errors import Infrastructure, WrongInput
from matrix.load import Matrix
from runners import lock, tables
from runners.environments import tool_environment
from runners.lock import PIN

FOR_REPROS = ("requests",)
"""What a standalone program may import besides what its engine brings."""


class Past(Record, frozen=True, kw_only=True):
    """One release of a distribution."""

    version: str
    released: dt.date
    """UTC, of the last of its files: what was built for it later came with it."""


def stable(matrix: Matrix, engine: str) -> list[Release]:
    """The stable releases of an engine in the tables, the newest last."""
    known = [one for one in matrix.releases.values() if one.engine == engine and one.channel == "stable"]
    return sorted(known, key=lambda one: one.released or dt.date.min)


def image_of(release: Release, version: str) -> Image | None:
    """The image of another version, by its tag; None without an image, or where its tag does not name the version."""
    image = release.image
    if image is None or release.version not in image.tag:
        return None
    return msgspec.structs.replace(image, tag=image.tag.replace(release.version, version), digest=None)


def distribution(release: Release, folder: Path) -> str:
    """What the package index calls an engine: the pin of its own version in the file that its lock is made from."""
    source = _source(release, folder)
    pins = [found["name"] for found in PIN.finditer(source.read_text()) if found["version"] == release.version]
    if not pins:
        raise WrongInput(f"{source.name} pins no distribution at {release.version}, the version of {release.id}")
    return pins[0]


def _source(release: Release, folder: Path) -> Path:
    if release.requirements is None:
        raise WrongInput(f"{release.id} has no requirement file, so its past releases are not known")
    source = (folder / release.requirements).with_suffix(".in")
    if not source.is_file():
        raise WrongInput(f"no file {source.name} beside the lock of {release.id}")
    return source


def published(name: str) -> list[Past]:
    """Every release of a distribution in the order of versions, without pre-releases and what was withdrawn.

    Raises Infrastructure where the index does not answer, or does not say when a file came.
    """
    return _by_version(name, _packages(name))


def wheels(name: str) -> dict[str, str]:
    """The address of one wheel of each version of a distribution; raises as `published` does."""
    return {
        str(version): package.url
        for package in _packages(name)
        if package.package_type == "wheel" and (version := _version(package.version)) is not None
    }


def _packages(name: str) -> list[DistributionPackage]:
    variables = tool_environment()
    index = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or PYPI_SIMPLE_ENDPOINT
    try:
        with PyPISimple(index) as client:
            return client.get_project_page(name, timeout=60).packages
    except NoSuchProjectError as error:
        raise WrongInput(f"the package index knows no {name}") from error
    except (requests.RequestException, ValueError) as error:
        raise Infrastructure(f"the package index did not answer for {name}: {error}") from error


def _by_version(name: str, packages: Sequence[DistributionPackage]) -> list[Past]:
    days: dict[Version, list[dt.date]] = {}
    for package in packages:
        version = _version(package.version)
        if version is None or version.is_prerelease or package.is_yanked:
            continue
        if package.upload_time is None:
            raise Infrastructure(f"the package index does not say when {package.filename} came")
        days.setdefault(version, []).append(package.upload_time.astimezone(dt.UTC).date())
    if not days:
        raise Infrastructure(f"the package index has no release of {name}")
    return [Past(version=str(version), released=max(found)) for version, found in sorted(days.items())]


def _version(text: str | None) -> Version | None:
    try:
        return None if text is None else Version(text)
    except InvalidVersion:
        return None


def add_release(matrix: Matrix, like: Release, past: Past, folder: Path) -> str:
    """Write the matrix into a folder, with a past release of an engine beside today's; its id.

    Its lock is resolved as of the day of its release, but for what today's file pins by name, and with today's packages
    where that cannot be. Raises Infrastructure where neither can: that release cannot be installed here.
    """
    tables.copy(matrix.folder, folder)
    release_id = f"{like.engine}-{past.version}"
    if release_id not in matrix.releases:
        release = msgspec.structs.replace(
            like, version=past.version, released=past.released, requirements=_locked(like, past, folder, release_id),
            build_note=like.build_note.replace(like.version, past.version), image=image_of(like, past.version),
        )  # fmt: skip
        tables.put(folder, "release", release)
    return release_id


def choose(folder: Path, name: str, releases: Sequence[str], like: Sequence[Cell], probes: Sequence[str]) -> None:
    """Write a profile into a folder of tables: some releases with the models, devices and configs of some cells."""
    profile = Profile(
        id=name,
        description="What is asked of past releases.",
        tier="deep",
        probes=tuple(probes),
        releases=tuple(releases),
        models=tuple(dict.fromkeys(cell.model.id for cell in like)),
        devices=tuple(dict.fromkeys(cell.device.id for cell in like)),
        configs=tuple(dict.fromkeys(cell.config.id for cell in like)),
    )
    tables.put(folder, "profile", profile)


def _locked(old: Release, past: Past, folder: Path, release_id: str) -> str:
    """Write the lock of a past release; its path within the folder."""
    source = _source(old, folder)
    target = source.with_name(f"{release_id}.in")
    name = distribution(old, folder)
    text = PIN.sub(
        lambda pin: f"{name}{pin['extras'] or ''}=={past.version}" if pin["name"] == name else pin[0],
        source.read_text(),
    )
    target.write_text("\n".join((text, *FOR_REPROS, "")))
    overrides = source.with_suffix(".overrides.txt")
    if overrides.is_file():
        shutil.copy(overrides, target.with_suffix(".overrides.txt"))
    try:
        lock.lock(target, as_of=past.released)
    except Infrastructure as error:
        _lock_with_todays(target, error)
    return str(target.with_suffix(".txt").relative_to(folder))


def _lock_with_todays(target: Path, error: Infrastructure) -> None:
    """What is pinned by name may need newer packages than there were; raises the first error where that fails too."""
    try:
        lock.lock(target)
    except Infrastructure:
        raise error from None
