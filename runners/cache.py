"""A folder of entries that are expensive to make, each complete or not there at all.

An entry is `<root>/<kind>/<key>/` plus `<key>.json`, written last: without it the entry is unfinished and is remade.
The record holds size, mtime and SHA-256 of every file, so a file that was damaged later is found out too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from matrix.cells import Record
from matrix.errors import Infrastructure, WrongInput
from matrix.results import write_json
from runners import owner

UNFINISHED = "unfinished"
"""The label of an entry whose making was interrupted, or is under way."""

_used: set[tuple[str, str]] = set()

BUDGET = "READINESS_CACHE_GIB"
"""Environment variable: how large the cache may be when a run begins, images included."""


class Stamp(Record, frozen=True, kw_only=True):
    """What is known of a file: cheap to compare first, certain to compare last."""

    size: int
    mtime_ns: int
    sha256: str


class Entry(Record, frozen=True, kw_only=True):
    """The record of a finished entry."""

    kind: str
    key: str
    label: str
    created_at: dt.datetime
    seconds: float
    """Wall clock that it took to make."""
    size: int
    """Bytes on disk."""
    files: dict[str, Stamp]
    """Empty for entries too large to check file by file (environments)."""


def root() -> Path:
    """Where entries live: READINESS_CACHE, else the user's cache folder."""
    configured = os.environ.get("READINESS_CACHE")
    return Path(configured).resolve() if configured else user_cache_path("readiness")


def ensure(
    kind: str,
    key: str,
    build: Callable[[Path], None],
    *,
    label: str,
    check_files: bool = True,
    keep_partial: bool = False,
) -> Path:
    """The folder of an entry, made by `build(folder)` unless it is there and intact.

    Processes wait for each other. `keep_partial` leaves what an interrupted build wrote, for downloads that resume.
    """
    folder = root() / kind / key
    _used.add((kind, key))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{key}.lock")):
        record = folder.with_name(f"{key}.json")
        if _intact(folder, record, check_files):
            os.utime(record)
            return folder
        record.unlink(missing_ok=True)
        if folder.exists() and not keep_partial:
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        started = time.monotonic()
        build(folder)
        files = {p.relative_to(folder).as_posix(): stamp(p) for p in _files(folder)} if check_files else {}
        entry = Entry(
            kind=kind,
            key=key,
            label=label,
            created_at=dt.datetime.now(dt.UTC),
            seconds=time.monotonic() - started,
            size=_size(folder),
            files=files,
        )
        write_json(record, entry)
    return folder


def used_here() -> frozenset[tuple[str, str]]:
    """Kind and key of the entries that this process has asked for."""
    return frozenset(_used)


def stamp(path: Path) -> Stamp:
    """Size, modification time and SHA-256 of a file."""
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stamp(size=status.st_size, mtime_ns=status.st_mtime_ns, sha256=digest)


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(f"{path.relative_to(folder).as_posix()} {stamp(path).sha256}\n".encode())
    return digest.hexdigest()


def entries() -> list[tuple[Entry, dt.datetime]]:
    """Entries with the time of their last use, oldest use first; unfinished ones too, labelled so."""
    found = []
    for folder in (path for path in root().glob("*/*") if path.is_dir()):
        record = folder.with_name(f"{folder.name}.json")
        try:
            entry = msgspec.json.decode(record.read_bytes(), type=Entry)
            used = record.stat().st_mtime
        except (msgspec.MsgspecError, OSError):
            try:
                entry, used = _unfinished(folder), folder.stat().st_mtime
            except FileNotFoundError:
                continue  # another process is removing it, or moves files in it
        found.append((entry, dt.datetime.fromtimestamp(used, dt.UTC)))
    return sorted(found, key=lambda pair: pair[1])


def _unfinished(folder: Path) -> Entry:
    created_at = dt.datetime.fromtimestamp(folder.stat().st_ctime, dt.UTC)
    return Entry(
        kind=folder.parent.name, key=folder.name, label=UNFINISHED, created_at=created_at, seconds=0.0,
        size=_size(folder), files={},
    )  # fmt: skip


def note(kind: str, key: str, *, label: str, size: int) -> None:
    """Count something that lies elsewhere, an image say, as an entry; noting it again is using it."""
    folder = root() / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    entry = Entry(kind=kind, key=key, label=label, created_at=dt.datetime.now(dt.UTC), seconds=0.0, size=size, files={})
    write_json(folder.with_name(f"{key}.json"), entry)


def register_run(name: str) -> None:
    """From now on, for as long as this process lives, nothing is pruned that was used since."""
    folder = root() / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{os.getpid()}.run").write_text(owner.label(name))


def live_since() -> dt.datetime | None:
    """When the oldest run that is still going began; forgets those that are not."""
    started = []
    for path in (root() / "runs").glob("*.run"):
        if owner.is_held(path.read_text()):
            started.append(path.stat().st_mtime)
        else:
            path.unlink(missing_ok=True)
    return dt.datetime.fromtimestamp(min(started), dt.UTC) if started else None


def budget_bytes() -> int | None:
    """What READINESS_CACHE_GIB allows; None: no budget. Raises WrongInput where it is no number."""
    given = os.environ.get(BUDGET)
    try:
        return None if given is None else int(float(given) * 2**30)
    except ValueError:
        raise WrongInput(f"{BUDGET}={given!r}: a number of GiB is expected") from None


def prune(
    *,
    max_bytes: int | None = None,
    older_than: dt.timedelta | None = None,
    removers: Mapping[str, Callable[[Entry], None]] | None = None,
) -> list[Entry]:
    """Remove entries unused for longer than `older_than`, then the longest unused until `max_bytes` hold.

    What a run that is still going has used stays, and what a process is making at this moment. `removers` remove what
    an entry of their kind stands for.
    """
    live = live_since()
    kept = [(entry, used) for entry, used in entries() if live is None or used < live]
    removed: list[Entry] = []
    now = dt.datetime.now(dt.UTC)
    total = sum(entry.size for entry, _ in entries())
    for entry, used in kept:
        too_old = older_than is not None and now - used > older_than
        too_much = max_bytes is not None and total > max_bytes
        if (too_old or too_much) and _remove(entry, (removers or {}).get(entry.kind)):
            removed.append(entry)
            total -= entry.size
    return removed


def forget(kind: str, label: str) -> None:
    """Remove the entries of a kind by their label, those alone that no process is making."""
    for entry, _ in entries():
        if (entry.kind, entry.label) == (kind, label):
            _remove(entry, None)


def _remove(entry: Entry, remover: Callable[[Entry], None] | None) -> bool:
    folder = root() / entry.kind / entry.key
    try:
        with FileLock(folder.with_name(f"{entry.key}.lock"), timeout=0):
            if remover is not None:
                remover(entry)
            folder.with_name(f"{entry.key}.json").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, Infrastructure):
        return False  # in use, or what it stands for cannot be removed now
    return True


def _intact(folder: Path, record: Path, check_files: bool) -> bool:
    try:
        entry = msgspec.json.decode(record.read_bytes(), type=Entry)
    except (msgspec.MsgspecError, OSError):
        return False
    if not folder.is_dir():
        return False
    return not check_files or all(_unchanged(folder / name, known) for name, known in entry.files.items())


def _unchanged(path: Path, known: Stamp) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_size != known.size:
        return False
    return status.st_mtime_ns == known.mtime_ns or stamp(path).sha256 == known.sha256


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))
