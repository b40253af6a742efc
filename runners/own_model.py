"""A user's own checkpoint, in a folder or on the Hub, as a model: what its config.json says, and nothing guessed."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from matrix import published
from matrix.cells import DTYPES, FolderSource, HubSource, Model
from matrix.errors import WrongInput
from runners import models
from runners.own import word

HUB = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})$")


def of_folder(given: str, *, dtype: str | None = None) -> Model:
    """The model that a checkpoint folder holds, as its config.json describes it; raises WrongInput.

    With a `dtype`, that takes the place of the config's.
    """
    folder = Path(given).resolve()
    missing = models.missing(folder)
    if missing:
        raise WrongInput(f"{given}: no checkpoint, for {', '.join(missing)} is not in it")
    return _described(folder.name, FolderSource(path=str(folder)), folder / "config.json", dtype)


def of_hub(given: str, *, dtype: str | None = None) -> Model:
    """The model in a repository of the Hub at a commit, of which config.json alone is fetched.

    With a `dtype`, that takes the place of the config's. Raises WrongInput for another spelling, Infrastructure where
    the Hub does not give the file.
    """
    found = HUB.match(given)
    if found is None:
        raise WrongInput(f"{given!r}: expected OWNER/NAME@COMMIT, with all 40 digits of the commit")
    from runners import hub  # here, because the hub's client takes half a second that few commands need

    source = HubSource(repo=found["repo"], revision=found["revision"])
    with tempfile.TemporaryDirectory(prefix="readiness-") as folder:
        config = hub.config(source.repo, source.revision, Path(folder))
        return _described(source.repo.split("/")[1], source, config, dtype)


def _described(name: str, source: FolderSource | HubSource, path: Path, dtype: str | None) -> Model:
    where = f"config.json of {name}"
    values = _read(path, where)
    architectures = values.get("architectures")
    if not (isinstance(architectures, list) and architectures and isinstance(architectures[0], str)):
        raise WrongInput(f"{where}: architectures is {architectures!r}, expected a list with the name of a class")
    dtype = dtype or str(_first(values, published.DTYPE, where)).removeprefix("torch.")
    length = _first(values, published.LENGTHS, where)
    if dtype not in DTYPES:
        raise WrongInput(f"{where}: dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise WrongInput(f"{where}: the context length is {length!r}, expected a number of tokens")
    return Model(
        id=word("the name of the checkpoint", name),
        source=source,
        architecture=architectures[0],
        dtype=dtype,
        context_length=length,
        text_only=published.has_media(values),
    )


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        values = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise WrongInput(f"{where}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise WrongInput(f"{where}: found {type(values).__name__}, expected an object with keys")
    return values


def _first(values: dict[str, Any], keys: tuple[str, ...], where: str) -> object:
    """What the first of some keys says, in the part about text or around it."""
    text = values.get("text_config")
    for part in (text if isinstance(text, dict) else {}, values):
        for key in keys:
            if part.get(key) is not None:
                return part[key]
    raise WrongInput(f"{where}: none of the keys {', '.join(keys)} is in it")
