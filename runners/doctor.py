"""What this machine can run, what is missing, and how to get it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import psutil
from uv import find_uv_bin

from matrix.cells import Record
from matrix.errors import Infrastructure
from runners import cache, daemon, environments
from runners.leases import nvidia_smi

NEEDED_DISK_GIB = 15
NEEDED_MEMORY_GIB = 8


class Finding(Record, frozen=True, kw_only=True):
    """One thing looked at."""

    what: str
    found: str
    good: bool
    needed_for: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything; never raises."""
    return [_python(), _compiler(), _memory(), _disk(), _instructions(), _docker(), _gpu(), _browser()]


def _python() -> Finding:
    command = (find_uv_bin(), "python", "find", environments.PYTHON)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = done.stdout.strip() if done.returncode == 0 else "none"
    advice = f"install Python {environments.PYTHON}, or let uv fetch it: uv python install {environments.PYTHON}"
    return Finding(
        what=f"Python {environments.PYTHON}", found=Path(found).name, good=done.returncode == 0,
        needed_for="every engine in a virtual environment", advice=advice,
    )  # fmt: skip


def _compiler() -> Finding:
    names = [name for name in ("cc", "c++") if shutil.which(name)]
    return Finding(
        what="C and C++ compiler", found=", ".join(names) or "none", good=len(names) == 2,
        needed_for="engines compiled here, or that compile kernels", advice="apt-get install build-essential",
    )  # fmt: skip


def _memory() -> Finding:
    gib = psutil.virtual_memory().total / 2**30
    return Finding(
        what="memory", found=f"{gib:.0f} GiB", good=gib >= NEEDED_MEMORY_GIB, needed_for="profile quick",
        advice=f"at least {NEEDED_MEMORY_GIB} GiB",
    )  # fmt: skip


def _disk() -> Finding:
    place = cache.root()
    place.mkdir(parents=True, exist_ok=True)
    gib = psutil.disk_usage(str(place)).free / 2**30
    return Finding(
        what="free disk for the cache", found=f"{gib:.0f} GiB", good=gib >= NEEDED_DISK_GIB,
        needed_for="environments and models",
        advice=f"free {NEEDED_DISK_GIB} GiB, or set READINESS_CACHE; see `readiness cache`",
    )  # fmt: skip


def _instructions() -> Finding:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return Finding(
        what="processor", found=f"{platform.machine()} {' '.join(known)}", good="avx2" in known,
        needed_for="engines on the CPU", advice="an x86-64 processor with AVX2",
    )  # fmt: skip


def _docker() -> Finding:
    version = daemon.version()
    return Finding(
        what="Docker", found="no daemon answers" if version is None else f"Docker Engine {version}",
        good=version is not None, needed_for="engines in containers",
        advice="install Docker Engine and start its daemon; the venv launcher needs none",
    )  # fmt: skip


def _gpu() -> Finding:
    try:
        found, good = nvidia_smi("--query-gpu=name,driver_version", "--format=csv,noheader"), True
    except Infrastructure as error:
        found, good = str(error), False
    return Finding(
        what="NVIDIA accelerator", found=found or "none", good=good and bool(found), needed_for="GPU cells",
        advice="profile quick needs none",
    )  # fmt: skip


def _browser() -> Finding:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return Finding(
        what="Chromium", found=Path(path).name if path else "none", good=path is not None,
        needed_for="this project's browser tests", advice="apt-get install chromium chromium-driver",
    )  # fmt: skip
