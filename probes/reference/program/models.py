"""The model in a folder: whole in memory where it fits, part by part from disk where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
import transformers
import transformers.utils.logging

from .architecture import adopt, auto_class
from .checkpoint import stored
from .errors import InputError
from .lockstep import Job
from .resume import Notebook
from .streamed import Streamed
from .weights import check_loaded, nbytes

HEADROOM = 1.5
"""Times a model's own size: its activations, logits and caches must fit beside it."""

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


class Model(Protocol):
    """A model that does forward passes."""

    model: Any
    """The module that is called."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Do jobs that need nothing from each other, each of them one forward call."""


class Resident:
    """A model in memory."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def run(self, jobs: Sequence[Job]) -> None:
        """Do them one after another."""
        for job in jobs:
            job()


def open_model(folder: Path, dtype: str, attention: str, *, memory: int, notebook: Notebook | None = None) -> Model:
    """The model, in memory if `memory` bytes hold it; InputError where the checkpoint lacks or mangles a tensor."""
    if fits(folder, memory):
        return Resident(load_model(folder, dtype, attention))
    return Streamed(empty_model(folder, dtype, attention), folder, getattr(torch, dtype), notebook)


def fits(folder: Path, memory: int) -> bool:
    """Whether the float32 model and what it computes fit into `memory` bytes."""
    return nbytes(empty_model(folder, "float32", "eager"), torch.float32) * HEADROOM <= memory


def available_memory() -> int:
    """Bytes that this program may take: what is free here, and not more than its control group allows."""
    texts = [path.read_text().strip() for path in _limits() if path.is_file()]
    return min([int(psutil.virtual_memory().available), *(int(text) for text in texts if text.isdigit())])


def _limits() -> Iterator[Path]:
    """Files with the limits of the control group that this process is in, of either version."""
    for line in OWN_CGROUP.read_text().splitlines() if OWN_CGROUP.is_file() else ():
        _, controllers, path = line.split(":", 2)
        own = path.lstrip("/")
        # Within a container the path is the host's, and the group is mounted as the root.
        if controllers == "":
            yield from (CGROUPS / own / "memory.max", CGROUPS / "memory.max")
        elif "memory" in controllers.split(","):
            yield from (CGROUPS / "memory" / place / "memory.limit_in_bytes" for place in (own, ""))


def load_model(folder: Path, dtype: str, attention: str) -> Any:
    """Build the model in `dtype` straight from its files.

    Never `.to(dtype)` afterwards: that also rounds the buffers, and RoPE's inverse frequencies in bfloat16
    are off by up to 0.4%, which is an error of its own and not the noise of an engine.
    """
    if any(folder.glob("*.safetensors")):
        stored(folder)  # names a damaged shard better than what fails in loading it
    make = auto_class(load_config(folder)).from_pretrained
    options = {"dtype": getattr(torch, dtype), "local_files_only": True, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # told below
    if attention == "eager":
        options["experts_implementation"] = "eager"  # the plainest of everything
    model, info = _with_attention(attention, lambda kind: make(folder, attn_implementation=kind, **options))
    check_loaded(info["missing_keys"], info["mismatched_keys"])
    for name, parameter in model.named_parameters():
        if not math.isfinite(float(parameter.sum(dtype=torch.float32))):
            raise InputError(f"{name} holds numbers that are not finite")
    return model.eval()


def empty_model(folder: Path, dtype: str, attention: str) -> Any:
    """The model without its weights; what it computes from its config, such as RoPE's inverse frequencies, is there."""
    config = load_config(folder)
    make = auto_class(config).from_config
    options = {"dtype": getattr(torch, dtype), "experts_implementation": "eager"}
    with torch.device("meta"):
        model = _with_attention(attention, lambda kind: make(config, attn_implementation=kind, **options))
    for name, buffer in list(model.named_non_persistent_buffers()):
        path, _, leaf = name.rpartition(".")
        model.get_submodule(path)._buffers[leaf] = torch.empty_like(buffer, device="cpu")
    model.initialize_weights()
    return model.eval()


def _with_attention(attention: str, make: Callable[[str], Any]) -> Any:
    transformers.utils.logging.disable_progress_bar()  # stderr carries one line a stage
    try:
        return make(attention)
    except ValueError as error:
        # Architectures with sinks or soft-caps have eager attention only; the replicate then differs by how
        # it is fed.
        if attention == "eager" or "attention" not in str(error):
            raise
        return make("eager")


def load_config(folder: Path) -> Any:
    """The configuration of the model in `folder`; InputError if there is none or transformers does not know it."""
    if not (folder / "config.json").is_file():
        raise InputError(f"no model at {folder}: a folder with a config.json is expected")
    adopt(folder)
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"config.json is not known to transformers {transformers.__version__}: {first}") from error


def vocabulary(config: Any) -> int:
    """Rows of the output matrix, which may be more than the tokenizer has tokens."""
    return int(config.get_text_config().vocab_size)
