"""Whose a process or a container is: a label that names the run, the process that holds it, and itself."""

from __future__ import annotations

import os
import re
import uuid

import psutil


def label(run: str) -> str:
    """A new label, RUN/HOLDER/UNIQUE; the holder is this process."""
    return f"{run}/{_holder()}/{uuid.uuid4().hex}"


def _holder() -> str:
    """This process, named so that a later one with the same id is not taken for it."""
    return f"{os.getpid()}-{psutil.Process().create_time():.2f}"


def is_held(label: str) -> bool:
    """True while the process that started what carries this label, and would take it down, is alive."""
    holder = re.fullmatch(r"[^/]*/(\d+)-([\d.]+)/.*", label)
    if holder is None:
        return True  # not a label of this version; what we cannot read, we do not remove
    try:
        process = psutil.Process(int(holder[1]))
        return f"{process.create_time():.2f}" == holder[2] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
