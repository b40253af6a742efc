"""Where a result comes from: this program, this machine, and neither's private places."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import msgspec
import psutil

from matrix.results import Verdict
from runners import cache
from runners.host import cores

CHECKOUT = Path(__file__).parents[1]
GIT_DEADLINE_S = 10


@functools.cache
def harness_version() -> str:
    """This program's version; from a checkout with its commit, and `dirty` where a tracked file differs from it."""
    version = importlib.metadata.version("readiness-matrix")
    if not (CHECKOUT / ".git").exists():
        return version
    git = ("git", "-C", str(CHECKOUT), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty")
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True, timeout=GIT_DEADLINE_S)
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{done.stdout.strip().replace('-', '.')}"


def machine() -> str:
    """Processor, cores, memory and system, without any name of the machine."""
    count = cores()
    memory_gib = psutil.virtual_memory().total / 2**30
    libc = " ".join(platform.libc_ver())
    return f"{_processor()}, {count} core{'s' * (count != 1)}, {memory_gib:.0f} GiB, {platform.system()} {libc}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def without_places(text: str) -> str:
    """A text without the folders of this machine: results are published, and where files lie is no evidence."""
    for place, name in ((str(cache.root()), "CACHE"), (str(Path.home()), "~")):
        text = text.replace(place, name)
    return text


def verdict_without_places(verdict: Verdict) -> Verdict:
    """The same for the sentence and the evidence of a verdict."""
    evidence = {name: without_places(text) for name, text in verdict.evidence.items()}
    return msgspec.structs.replace(verdict, reason=without_places(verdict.reason), evidence=evidence)
