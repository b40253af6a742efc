"""What a process takes, from its start to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from matrix.cells import Record


class Took(Record, frozen=True, kw_only=True):
    """One process, with all that it started."""

    seconds: float
    cpu_s: float
    peak_gb: float
    """Of the largest process among them."""


DEADLINE_S = 1800
"""Of a command; one that takes longer is ended."""

# A process of its own between, which is small: a child's peak begins with its parent's.
_MEASURING = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=float(sys.argv[1]))
seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
cpu_s, peak_gb = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9
said = done.stdout.decode(errors="replace")[-2000:]
print(json.dumps({"failed": done.returncode, "said": said, "seconds": seconds, "cpu_s": cpu_s, "peak_gb": peak_gb}))
"""


def took(command: Sequence[str], cwd: Path | None = None) -> Took:
    """Run a command and wait for it; raises RuntimeError with its last words where it fails."""
    measuring = (sys.executable, "-c", _MEASURING, str(DEADLINE_S), *command)
    told = json.loads(subprocess.run(measuring, cwd=cwd, check=True, capture_output=True).stdout)
    if told["failed"]:
        raise RuntimeError(f"{command[0]} exited with {told['failed']}: {told['said']}")
    return Took(seconds=told["seconds"], cpu_s=told["cpu_s"], peak_gb=told["peak_gb"])


def size_mb(folder: Path) -> float:
    """Of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
