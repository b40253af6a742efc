"""A user's own image or wheel as a release, and tables in which it stands beside the known ones."""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from matrix import published
from matrix.cells import Device, Image, Model, Profile, Record, Release
from matrix.errors import WrongInput
from matrix.load import Matrix
from runners import cache, environments, lock, releases, tables
from runners.lock import PIN

REFERENCE = re.compile(
    r"^(?P<repository>[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9._-]+)*):(?P<tag>[A-Za-z0-9_][\w.-]*)"
    r"(@(?P<digest>sha256:[0-9a-f]{64}))?$"
)
"""An image as `docker pull` takes it, with its tag, and better with its digest too."""

# --- releases ---------------------------------------------------------------------------------------------


def newest(matrix: Matrix, engine: str) -> Release:
    """The newest stable release of an engine in the tables; raises WrongInput where there is none."""
    known = releases.stable(matrix, engine)
    if not known:
        raise WrongInput(f"--engine {engine}: no stable release of it in {matrix.folder / tables.ENGINES}")
    return known[-1]


def of_image(reference: str, version: str | None, like: Release, device: Device) -> Release:
    """The release that a user's image is, for one kind of device; its version is that of the tag where none is given.

    `like`: a known release, whose image says what its containers need. Raises WrongInput.
    """
    found = REFERENCE.match(reference)
    if found is None:
        raise WrongInput(f"--image {reference!r}: expected REPOSITORY:TAG, or better REPOSITORY:TAG@sha256:DIGEST")
    tag = f"{found['repository']}:{found['tag']}"
    image = Image(tag=tag, digest=found["digest"], device_kinds=(device.kind,))
    if like.image is not None:
        image = msgspec.structs.replace(image, python=like.image.python, user=like.image.user)
    return Release(
        engine=like.engine,
        version=word("--version", version or re.sub(r"^v(?=\d)", "", found["tag"])),
        channel="nightly",
        build="third-party",
        build_note=f"The image {tag}, named by whoever ran this; how it was built is not known.",
        device_kinds=(device.kind,),
        image=image,
        cap_add=like.cap_add,
    )


class Wheel(Record, frozen=True, kw_only=True):
    """A wheel on this machine, by its file name."""

    path: Path
    name: str
    """Of the distribution, in its one spelling."""
    version: str


def wheel(pattern: str) -> Wheel:
    """The one wheel that a path or a pattern names; raises WrongInput where it is none, or not for our Python."""
    found = sorted(glob.glob(pattern))
    if len(found) != 1:
        named = ", ".join(Path(one).name for one in found) or "nothing"
        raise WrongInput(f"--wheel {pattern!r}: found {named}, expected one file")
    path = Path(found[0]).resolve()
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise WrongInput(f"--wheel {path.name}: {error}") from None
    if tags.isdisjoint(_fitting()):
        of_it = ", ".join(sorted(map(str, tags)))
        raise WrongInput(f"--wheel {path.name}: built for {of_it}, expected one for Python {environments.PYTHON} here")
    return Wheel(path=path, name=name, version=str(version))


def _fitting() -> set[Tag]:
    """What wheels for engines' environments on this machine may be built for."""
    python, platforms = [int(part) for part in environments.PYTHON.split(".")], list(platform_tags())
    interpreter = f"cp{''.join(map(str, python))}"
    return {*cpython_tags(python, platforms=platforms), *compatible_tags(python, interpreter, platforms)}


def of_wheel(given: Wheel, version: str | None, like: Release, device: Device, folder: Path) -> Release:
    """The release that a user's wheel is, with the rest as of a known one; writes its lock into a folder of tables.

    What `like` has locked is kept as far as the wheel allows it. Raises WrongInput for a wheel of something else or a
    device that it is not for, Infrastructure with the resolver's words where the wheel's requirements cannot be met.
    """
    name = releases.distribution(like, folder)
    _refuse_unfit(given, name, like, device)
    sha256 = cache.stamp(given.path).sha256
    made = Release(
        engine=like.engine,
        version=word("--version", version or given.version),
        channel="nightly",
        build="patched" if like.build == "patched" else "third-party",
        build_note=f"The wheel {given.path.name} (SHA-256 {sha256[:12]}…), of whoever ran this; else as {like.id}.",
        device_kinds=like.device_kinds,
        build_from_source=like.build_from_source,
        build_env=like.build_env,
        cap_add=like.cap_add,
    )
    requirements = _locked(given, name, like, made.id, folder)
    return msgspec.structs.replace(made, requirements=requirements)


def _refuse_unfit(given: Wheel, name: str, like: Release, device: Device) -> None:
    wanted = {canonicalize_name(one) for one in (name, like.engine, like.dated_by or name)}
    if given.name not in wanted:
        listed = " or ".join(sorted(wanted))
        raise WrongInput(f"--wheel {given.path.name}: a wheel of {given.name}, expected one of {listed}")
    if name in like.build_from_source:
        raise WrongInput(
            f"--wheel: {like.engine} is built from its source here, of which more is needed than a wheel has"
        )
    if device.kind not in like.device_kinds:
        kinds = ", ".join(like.device_kinds)
        raise WrongInput(f"--wheel: {device.id} is {device.kind}, and wheels run on {kinds} alone; give --image")


def _locked(given: Wheel, name: str, like: Release, release_id: str, folder: Path) -> str:
    """Write a lock with the wheel in the place of a pin; its path within the folder."""
    assert like.requirements is not None  # or its distribution would not be known
    known = folder / like.requirements
    target = known.with_name(f"{release_id}.txt")
    source, overrides = target.with_suffix(".in"), known.with_suffix(".overrides.txt")
    source.write_text(PIN.sub(lambda pin: _pinned(pin, name, given), known.with_suffix(".in").read_text()))
    if overrides.is_file() and target != known:
        shutil.copy(overrides, target.with_suffix(".overrides.txt"))
    # The resolver prefers what a lock that is there says: of a wheel by the same version even the hash of another file.
    target.write_text(environments.without(known.read_text(), (name, given.name)))
    lock.lock(source)
    return str(target.relative_to(folder))


def _pinned(pin: re.Match[str], name: str, given: Wheel) -> str:
    """The wheel for the engine's own pin, and every other pin as it is."""
    return f"{given.name}{pin['extras'] or ''} @ {given.path.as_uri()}" if pin["name"] == name else pin[0]


# --- tables -----------------------------------------------------------------------------------------------


def word(what: str, text: str) -> str:
    """Any text as a part of a cell's name; raises WrongInput where nothing of it can be."""
    found = published.word(text)
    if not found:
        raise WrongInput(f"{what} {text!r}: no letter and no digit in it that could name a cell")
    return found


@contextmanager
def copied(matrix: Matrix, folder: Path) -> Iterator[None]:
    """Copy the tables of a matrix and its locks into a new folder, which goes again where the block fails.

    Raises WrongInput where something lies there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongInput(f"--into {folder}: exists already; name a new folder, or remove it")
    tables.copy(matrix.folder, folder)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder)
        raise


def write(folder: Path, release: Release, model: Model, profile: Profile) -> None:
    """Put a release, a model and a profile into a folder of tables, in the place of those by the same id."""
    tables.put(folder, "release", release)
    tables.put(folder, "model", model)
    tables.put(folder, "profile", profile)
