"""A user's own checkpoint, in a folder or on the Hub, as a model: what its config.json says, and nothing guessed."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from httpx2 import HTTPError

from matrix.cells import FolderSource, HubSource, Model
from matrix.errors import Infrastructure, WrongInput
from runners import models
from runners.own import word

HUB = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})$")

LENGTHS = ("max_position_embeddings", "model_max_length", "max_sequence_length", "max_seq_len", "n_positions", "n_ctx")
"""Keys by which a config.json gives the context length."""

DTYPES = ("dtype", "torch_dtype")
"""Keys of the dtype: of newer configs, and of older ones."""

MEDIA = ("vision_config", "audio_config")
"""Parts of a config.json that are not about text."""

KNOWN_DTYPES = ("bfloat16", "float16", "float32")
"""Those of `Model.dtype`."""


def of_folder(given: str) -> Model:
    """The model that a checkpoint folder holds, as its config.json describes it; raises WrongInput."""
    folder = Path(given).resolve()
    missing = [name for name in models.MINIMUM if not (folder / name).is_file()]
    if missing:
        raise WrongInput(f"--checkpoint {given}: no checkpoint, for {', '.join(missing)} is not in it")
    return _described(folder.name, FolderSource(path=str(folder)), folder / "config.json")


def of_hub(given: str) -> Model:
    """The model in a repository of the Hub at a commit, of which config.json alone is fetched.

    Raises WrongInput for another spelling, Infrastructure where the Hub does not give the file.
    """
    found = HUB.match(given)
    if found is None:
        raise WrongInput(f"--hub {given!r}: expected OWNER/NAME@COMMIT, with all 40 digits of the commit")
    source = HubSource(repo=found["repo"], revision=found["revision"])
    with tempfile.TemporaryDirectory(prefix="readiness-") as folder:
        return _described(source.repo.split("/")[1], source, _config_of(source, Path(folder)))


def _config_of(source: HubSource, folder: Path) -> Path:
    # Here, because the hub's client takes half a second that few commands need.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    wanted = f"config.json of {source.repo} at {source.revision[:12]}"
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        return Path(
            hf_hub_download(source.repo, "config.json", revision=source.revision, local_dir=folder, endpoint=endpoint)
        )
    except GatedRepoError as error:
        raise Infrastructure(f"the hub refuses {wanted}: accept its licence there and set HF_TOKEN") from error
    except (HTTPError, OSError) as error:
        raise Infrastructure(f"the hub did not give {wanted}: {' '.join(str(error).split())}") from error


def _described(name: str, source: FolderSource | HubSource, path: Path) -> Model:
    where = f"config.json of {name}"
    values = _read(path, where)
    architectures = values.get("architectures")
    if not (isinstance(architectures, list) and architectures and isinstance(architectures[0], str)):
        raise WrongInput(f"{where}: architectures is {architectures!r}, expected a list with the name of a class")
    dtype = str(_first(values, DTYPES, where)).removeprefix("torch.")
    length = _first(values, LENGTHS, where)
    if dtype not in KNOWN_DTYPES:
        raise WrongInput(f"{where}: dtype is {dtype!r}, expected one of {', '.join(KNOWN_DTYPES)}")
    if not isinstance(length, int) or length < 1:
        raise WrongInput(f"{where}: the context length is {length!r}, expected a number of tokens")
    return Model(
        id=word("the name of the checkpoint", name),
        source=source,
        architecture=architectures[0],
        dtype=dtype,  # type: ignore[arg-type]  # one of KNOWN_DTYPES
        context_length=length,
        text_only=any(isinstance(values.get(part), dict) for part in MEDIA),
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
