"""Remove what a run left behind when it could not clean up itself: processes that carry its label."""

from __future__ import annotations

import psutil

from runners import venv


def reap_run(name: str) -> list[str]:
    """Kill whatever one run started, at its end; returns what was killed, in words."""
    return _kill(list(venv.labelled(f"{name}/")))


def reap_orphans() -> list[str]:
    """Kill what broken runs left; engines whose run is still alive are left to it. Returns it in words."""
    return _kill([process for process, label in venv.labelled().items() if not venv.is_held(label)])


def _kill(found: list[psutil.Process]) -> list[str]:
    killed = []
    for process in found:
        try:
            killed.append(f"{process.pid} {process.name()}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=5)
    return killed
