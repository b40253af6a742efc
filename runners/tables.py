"""Tables of a matrix folder, written: additions for people to read, and copies in which something of a user's stands.

In an addition what stands there stays byte for byte, with its order and its comments; a copy keeps neither.
"""

from __future__ import annotations

import datetime as dt
import difflib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import AoT, Integer, Item, Table, Trivia

from matrix.cells import Record, Release
from matrix.discover import Find
from matrix.results import write_bytes

MODELS, ENGINES, PROFILES = "models.toml", "engines.toml", "profiles.toml"
FILES = {"model": MODELS, "release": ENGINES, "profile": PROFILES}
KEYS = ("id", "engine", "version")
"""By which a table is known, as far as it has them."""

NIGHTLY = "nightly"

# --- additions --------------------------------------------------------------------------------------------


def with_finds(text: str, finds: Sequence[Find]) -> str:
    """models.toml with the models of some finds at its end; a gated one is not published."""
    return _appended(text, "model", [_model(find) for find in finds])


def with_releases(text: str, releases: Sequence[Release]) -> str:
    """engines.toml with some releases at its end; a nightly one takes the place of its engine's last."""
    new = []
    for release in releases:
        document = tomlkit.parse(text)
        old = _nightly(document, release) if release.channel == NIGHTLY else None
        if old is None:
            new.append(values(release))
        else:
            _update(old, values(release))
            text = tomlkit.dumps(document)
    return _appended(text, "release", new)


def write(folder: Path, files: Mapping[str, str], check: Callable[[Path], object], *, dry_run: bool = False) -> None:
    """Write tables into a matrix folder; where `check` refuses the folder with them in it, nothing is written.

    `dry_run` only checks.
    """
    with tempfile.TemporaryDirectory(prefix="readiness-tables-") as name:
        trial = Path(name) / "matrix"
        copy(folder, trial)
        for file, text in files.items():
            write_bytes(trial / file, text.encode())
        check(trial)
    for file, text in files.items() if not dry_run else ():
        write_bytes(folder / file, text.encode())


def read(path: Path) -> str:
    """A table with its own line ends."""
    return path.read_bytes().decode()


def difference(name: str, before: str, after: str) -> str:
    """What would change, as `diff -u` writes it."""
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, name))


def _model(find: Find) -> dict[str, Any]:
    given = values(find.model)
    return {**given, "unpublished": True} if find.gated else given


def _appended(text: str, kind: str, tables: Sequence[Mapping[str, Any]]) -> str:
    """The text with more `[[kind]]` behind it, in the line ends that it has."""
    if not tables:
        return text
    more = "\n" + "\n".join(tomlkit.dumps({kind: _array(table)}) for table in tables)
    more = more if text.endswith("\n") or not text else f"\n{more}"
    return text + (more.replace("\n", "\r\n") if "\r\n" in text else more)


def _array(table: Mapping[str, Any]) -> AoT:
    array = tomlkit.aot()
    array.append(_table(table))
    return array


def _table(values: Mapping[str, Any]) -> Table:
    """Tables within it come last, or what follows them would belong to them."""
    table = tomlkit.table()
    for key, value in sorted(values.items(), key=lambda pair: isinstance(pair[1], Mapping)):
        table.add(key, _item(value))
    return table


def _item(value: Any) -> Item:
    match value:
        case dict():
            return _table(value)
        case tuple():
            return _plain(list(value))
        case int() if type(value) is int and value >= 10**6:
            return Integer(value, Trivia(), f"{value:_}")
        case str() | bool() | int() | dt.date():
            return _plain(value)
    raise TypeError(f"a table of ours holds no {type(value).__name__}")


def _plain(value: object) -> Item:
    item: Item = tomlkit.item(value)
    return item


def _nightly(document: tomlkit.TOMLDocument, release: Release) -> Table | None:
    same = (table for table in _tables(document) if table.get("channel") == NIGHTLY)
    return next((table for table in same if table.get("engine") == release.engine), None)


def _tables(document: tomlkit.TOMLDocument) -> Iterator[Table]:
    yield from document.get("release", ())


def _update(old: Table, new: Mapping[str, Any]) -> None:
    """What has changed, in its place."""
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(old.get(key), Mapping):
            _update(old[key], value)
        elif old.get(key) != (list(value) if isinstance(value, tuple) else value):
            old[key] = _item(value)


# --- copies -----------------------------------------------------------------------------------------------


def copy(folder: Path, target: Path) -> None:
    """Copy the tables of a matrix and its locks, over what lies there; the packaged ones lie beside a program."""
    shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))


def put(folder: Path, kind: str, record: Record) -> None:
    """Put a `[[kind]]` into its file of a copy, in the place of the one that is called as it is."""
    path, table = folder / FILES[kind], values(record)
    document = tomlkit.parse(read(path)).unwrap()
    others = [one for one in document.get(kind, ()) if _called(one) != _called(table)]
    path.write_text(tomlkit.dumps({**document, kind: [*others, table]}))


def _called(table: Mapping[str, Any]) -> list[Any]:
    return [table.get(key) for key in KEYS]


# --- records ----------------------------------------------------------------------------------------------


def values(record: Record) -> dict[str, Any]:
    """The fields of a record that are not as they are where nothing is said."""
    config = type(record).__struct_config__
    found: dict[str, Any] = {str(config.tag_field): config.tag} if config.tag_field else {}
    for field in msgspec.structs.fields(type(record)):
        value = getattr(record, field.name)
        made = field.default_factory
        if value not in (None, field.default if made is msgspec.NODEFAULT else made()):
            found[field.encode_name] = values(value) if isinstance(value, Record) else value
    return found
