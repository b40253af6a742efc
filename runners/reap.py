"""Remove what a run left behind when it could not clean up itself: processes that carry its label."""

from __future__ import annotations

import psutil

from runners import venv


def reap(run_name: str = "") -> list[str]:
    """Kill the labelled processes of one run, or of all; returns what was killed, in words."""
    found = venv.labelled(f"{run_name}/" if run_name else "")
    killed = []
    for process in found:
        try:
            killed.append(f"{process.pid} {process.name()}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=5)
    return killed
