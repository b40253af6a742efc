"""A checkpoint from the Hugging Face Hub: fetched file by file, and verified against the hub's own checksums.

A download that breaks off goes on with the files that are still lacking. The hub's client returns whatever lies in the
folder when the hub does not answer, and trusts sizes; so nothing counts as fetched before every checksum was compared.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpx2 import HTTPError
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from tqdm.auto import tqdm

from matrix.errors import Infrastructure

if TYPE_CHECKING:
    Bar = tqdm[Any]
else:
    Bar = tqdm  # not subscriptable as it runs

CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.py")
ATTEMPTS = 2
"""A damaged file is fetched once more; damaged twice, it is damaged on the hub or on this machine's disk."""


def download(repo: str, revision: str, folder: Path, say: Callable[[str], None]) -> None:
    """Fetch the files of a checkpoint at a commit into `folder`; raises Infrastructure unless the hub gives it all."""
    wanted = f"{repo} at {revision[:12]}"
    for _ in range(ATTEMPTS):
        say(f"downloading {wanted}")
        with _asked(wanted):
            damaged = _fetch(repo, revision, folder, say)
        if not damaged:
            return
        say(f"damaged, fetching again: {', '.join(damaged)}")
        for name in damaged:
            (folder / name).unlink(missing_ok=True)
    raise Infrastructure(f"{wanted} came damaged {ATTEMPTS} times: {', '.join(damaged)}")


def config(repo: str, revision: str, folder: Path) -> Path:
    """Fetch the config.json of a checkpoint at a commit into `folder`; raises Infrastructure where that fails."""
    with _asked(f"config.json of {repo} at {revision[:12]}"):
        found = hf_hub_download(repo, "config.json", revision=revision, local_dir=folder, endpoint=_endpoint())
    return Path(found)


@contextmanager
def _asked(wanted: str) -> Iterator[None]:
    """Whatever the hub does not give inside the block is no fault of an engine."""
    try:
        yield
    except GatedRepoError as error:
        raise Infrastructure(f"the hub refuses {wanted}: accept its licence there and set HF_TOKEN") from error
    except (HTTPError, OSError) as error:
        raise Infrastructure(f"the hub did not give {wanted}: {_reason(error)}") from error


def _endpoint() -> str | None:
    """The hub's client reads the variable only once, when it is imported."""
    return os.environ.get("HF_ENDPOINT")


def _fetch(repo: str, revision: str, folder: Path, say: Callable[[str], None]) -> list[str]:
    """Download what is lacking; returns the files that are still lacking or differ from the hub's checksums."""
    snapshot_download(
        repo,
        revision=revision,
        local_dir=folder,
        allow_patterns=list(CHECKPOINT_FILES),
        endpoint=_endpoint(),
        tqdm_class=_said(say),
    )
    found = HfApi(endpoint=_endpoint()).verify_repo_checksums(repo, revision=revision, local_dir=folder)
    lacking = [name for name in found.missing_paths if any(fnmatch(name, wanted) for wanted in CHECKPOINT_FILES)]
    return sorted({*lacking, *(mismatch["path"] for mismatch in found.mismatches)})


def _said(say: Callable[[str], None]) -> type[Bar]:
    """A progress bar that says its bytes in a line of ours, and draws nothing."""

    class Said(Bar):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "file": io.StringIO()})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            if self._bytes and self.total:
                say(f"downloaded {self.n / 2**20:.0f} of {self.total / 2**20:.0f} MiB")

    return Said


def _reason(error: Exception) -> str:
    """What happened, in one line; "not found locally" only wraps why the hub was not asked."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
