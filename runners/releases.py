"""Past releases of an engine: what the package index has, and a matrix in which one of them stands beside today's."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
import tomlkit
from packaging.version import InvalidVersion, Version
from pypi_simple import PYPI_SIMPLE_ENDPOINT, DistributionPackage, NoSuchProjectError, PyPISimple

from matrix.cells import Cell, Record, Release
from matrix.errors import Infrastructure, WrongInput
from matrix.load import Matrix
from runners import lock
from runners.environments import tool_environment

PROFILE = "bisect"
"""Of the matrix that is made for a past release: the one cell."""

PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?P<extras>\[[\w,.-]+\])?==(?P<version>[^\s;#]+)", re.M)
"""A requirement that names one version."""


FOR_REPROS = ("requests",)
"""What a standalone program may import besides what its engine brings."""


class Past(Record, frozen=True, kw_only=True):
    """One release of a distribution."""

    version: str
    released: dt.date
    """UTC, of the last of its files: what was built for it later came with it."""


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


def with_past(matrix: Matrix, cell: Cell, past: Past, folder: Path, probes: Sequence[str]) -> str:
    """Write a matrix with a past release of a cell's engine, and the profile PROFILE of that cell on it; its id.

    Raises as `add_release` does.
    """
    release_id = add_release(matrix, cell.release, past, folder)
    choose(folder, PROFILE, [release_id], [cell], probes)
    return "__".join((release_id, *cell.id.split("__")[1:]))


def add_release(matrix: Matrix, like: Release, past: Past, folder: Path) -> str:
    """Write the matrix into a folder, with a past release of an engine beside today's; its id.

    Its lock is resolved as of the day of its release, but for what today's file pins by name, and with today's packages
    where that cannot be. Raises Infrastructure where neither can: that release cannot be installed here.
    """
    shutil.copytree(matrix.folder, folder, dirs_exist_ok=True)
    release_id = f"{like.engine}-{past.version}"
    if release_id not in matrix.releases:
        _write_lock(like, past, folder, release_id)
        _add(folder / "engines.toml", "release", _past_release(matrix, like, past, release_id))
    return release_id


def choose(folder: Path, name: str, releases: Sequence[str], like: Sequence[Cell], probes: Sequence[str]) -> None:
    """Write a profile into a folder of tables: some releases with the models, devices and configs of some cells."""
    profile = {
        "id": name,
        "description": "What is asked of past releases.",
        "tier": "deep",
        "probes": list(probes),
        "releases": list(releases),
        "models": list(dict.fromkeys(cell.model.id for cell in like)),
        "devices": list(dict.fromkeys(cell.device.id for cell in like)),
        "configs": list(dict.fromkeys(cell.config.id for cell in like)),
    }
    _add(folder / "profiles.toml", "profile", profile)


def _write_lock(old: Release, past: Past, folder: Path, release_id: str) -> None:
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


def _lock_with_todays(target: Path, error: Infrastructure) -> None:
    """What is pinned by name may need newer packages than there were; raises the first error where that fails too."""
    try:
        lock.lock(target)
    except Infrastructure:
        raise error from None


def _past_release(matrix: Matrix, old: Release, past: Past, release_id: str) -> dict[str, object]:
    """Today's table with that version in it; an image by its tag, for the digest is another."""
    tables = tomlkit.parse((matrix.folder / "engines.toml").read_text())["release"]
    (table,) = [one for one in tables.unwrap() if (one["engine"], one["version"]) == (old.engine, old.version)]
    table |= {"version": past.version, "released": past.released, "requirements": f"requirements/{release_id}.txt"}
    table["build_note"] = old.build_note.replace(old.version, past.version)
    if "image" in table:
        table["image"]["tag"] = table["image"]["tag"].replace(old.version, past.version)
        table["image"].pop("digest", None)
    return dict(table)


def _add(path: Path, kind: str, table: Mapping[str, object]) -> None:
    """Put one more `[[kind]]` into a file of tables, in the place of one by the same id."""
    document = tomlkit.parse(path.read_text()).unwrap()
    document[kind] = [one for one in document[kind] if one.get("id", "") != table.get("id")] + [table]
    path.write_text(tomlkit.dumps(document))
