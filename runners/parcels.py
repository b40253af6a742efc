"""Entries of the cache as files that another machine takes over: models and references, fetched once a night.

A parcel is `<kind>__<key>.tar`: the entry's folder and its record. It is unpacked like any other making of an entry,
and counts only if every file has the checksum that the record states.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection
from pathlib import Path

import msgspec

from matrix.errors import Infrastructure
from runners import cache
from runners.cache import Entry

KINDS = ("models", "references", "coverage")

MOST_BYTES = 4 * 2**30
"""Larger entries stay: where they are needed, storage is shared (READINESS_CACHE) or they are downloaded again."""


def pack(folder: Path, used: Collection[tuple[str, str]], private: Collection[str] = ()) -> list[str]:
    """Write a parcel for each entry in `used` (kind and key) whose key is not `private`; returns in words what it did.

    `private` is for weights whose licence does not let us pass them on: what a workflow keeps, others can download.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for entry, _ in cache.entries():
        if entry.kind not in KINDS or (entry.kind, entry.key) not in used or entry.label == cache.UNFINISHED:
            continue
        size = f"{entry.size / 2**20:.0f} MiB"
        if entry.key in private:
            said.append(f"not packed: {entry.label}: its licence does not say that it may be passed on")
        elif entry.size > MOST_BYTES:
            said.append(f"not packed: {entry.label}: {size} are more than {MOST_BYTES / 2**20:.0f} MiB")
        else:
            _pack(folder / f"{entry.kind}__{entry.key}.tar", cache.root() / entry.kind / entry.key)
            said.append(f"packed: {entry.label}, {size}")
    return said


def _pack(parcel: Path, entry: Path) -> None:
    record = entry.with_name(f"{entry.name}.json")
    with tarfile.open(parcel, "w") as archive:
        archive.add(record, "record.json")
        archive.add(entry, "entry")


def unpack(folder: Path) -> list[str]:
    """Take over every parcel of a folder, which need not exist; returns their entries' labels.

    Raises Infrastructure for a parcel that is damaged; those before it are taken over.
    """
    return [_unpack(parcel) for parcel in sorted(folder.glob("*.tar"))]


def _unpack(parcel: Path) -> str:
    kind, _, key = parcel.stem.partition("__")
    try:
        with tarfile.open(parcel) as archive:
            entry = _record(archive)
            if (entry.kind, entry.key) != (kind, key) or kind not in KINDS:
                raise Infrastructure(f"{parcel.name} holds {entry.kind} {entry.key}")
            cache.ensure(kind, key, lambda target: _extract(archive, entry, target), label=entry.label)
    except (tarfile.TarError, EOFError, KeyError, msgspec.MsgspecError) as error:
        raise Infrastructure(f"{parcel.name} is damaged: {error}") from error
    return entry.label


def _record(archive: tarfile.TarFile) -> Entry:
    file = archive.extractfile("record.json")
    assert file is not None  # a regular file, or KeyError
    return msgspec.json.decode(file.read(), type=Entry)


def _extract(archive: tarfile.TarFile, entry: Entry, target: Path) -> None:
    members = [member for member in archive.getmembers() if member.name.startswith("entry/")]
    for member in members:
        member.name = member.name.removeprefix("entry/")
    archive.extractall(target, members, filter="data")
    for name, known in entry.files.items():
        path = target / name
        if not path.is_file() or cache.stamp(path).sha256 != known.sha256:
            raise Infrastructure(f"{entry.label}: {name} came damaged")
