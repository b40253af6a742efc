"""In which release of transformers a class of a model first came: read in its published wheels, without fetching them.

transformers is where most architectures appear first; its registry of classes names every one that it can load.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Iterable, Sequence

import fsspec
from aiohttp import ClientError

from matrix.chronicle import Appearance
from matrix.errors import Infrastructure
from runners import releases
from runners.releases import Past

DISTRIBUTION = "transformers"
FOLDER = "transformers/models/auto/"
"""In a wheel: the modules that map configurations to classes."""

BLOCK = 2**18
"""Bytes of a wheel that are fetched at a time: the registry is a thousandth of it."""


def first(architectures: Iterable[str]) -> list[Appearance]:
    """The first release that knows each class; those that the newest release does not know are left out.

    A class that has come stays, so the search halves what is left. Raises Infrastructure where the index or a wheel
    cannot be read.
    """
    wheels = releases.wheels(DISTRIBUTION)
    published = [past for past in releases.published(DISTRIBUTION) if past.version in wheels]
    read = functools.cache(lambda version: _registry(wheels[version]))
    found = {name: earliest(published, functools.partial(_knows, read, name)) for name in sorted(set(architectures))}
    return [
        Appearance(architecture=name, version=past.version, released=past.released)
        for name, past in found.items()
        if past is not None
    ]


def earliest(published: Sequence[Past], holds: Callable[[Past], bool]) -> Past | None:
    """The first of some releases for which something holds, which holds for all after it; None where for none."""
    low, high = 0, len(published)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(published[middle]) else (middle + 1, high)
    return published[low] if low < len(published) else None


def _knows(read: Callable[[str], str], architecture: str, past: Past) -> bool:
    return f'"{architecture}"' in read(past.version)


def _registry(url: str) -> str:
    try:
        with fsspec.open(url, "rb", block_size=BLOCK) as file, zipfile.ZipFile(file) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(FOLDER) and name.endswith(".py")]
            return "\n".join(wheel.read(name).decode() for name in names)
    except (OSError, ValueError, ClientError, zipfile.BadZipFile) as error:
        raise Infrastructure(f"a wheel of {DISTRIBUTION} could not be read: {type(error).__name__}: {error}") from error
