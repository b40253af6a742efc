"""Remove what a run left behind when it could not clean up itself: whatever carries its label."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress

import psutil
from docker.errors import DockerException
from requests.exceptions import RequestException

from matrix.errors import Infrastructure
from runners import daemon, docker, owner, venv


def reap_run(name: str) -> list[str]:
    """Remove whatever one run started, at its end; returns what was removed, in words."""
    return _reap(lambda label: label.startswith(f"{name}/"))


def reap_orphans() -> list[str]:
    """Remove what broken runs left; what belongs to a run that is still going is left to it. Returns it in words."""
    return _reap(lambda label: not owner.is_held(label)) + _socket_folders()


def _reap(doomed: Callable[[str], bool]) -> list[str]:
    return _processes(doomed) + _containers(doomed)


def _processes(doomed: Callable[[str], bool]) -> list[str]:
    found = [process for process, label in venv.labelled().items() if doomed(label)]
    killed = []
    for process in found:
        with suppress(psutil.NoSuchProcess):
            killed.append(f"process {process.pid} {process.name()}")
            process.kill()
    psutil.wait_procs(found, timeout=5)
    return killed


def _containers(doomed: Callable[[str], bool]) -> list[str]:
    removed = []
    # No daemon, no containers: one that is down holds none that run, and the next reap finds the rest.
    with suppress(Infrastructure, DockerException, RequestException), daemon.connected() as client:
        for container in daemon.containers(client):
            if doomed(container.labels[daemon.LABEL]):
                daemon.remove(container)
                removed.append(f"container {container.short_id} {container.labels.get(daemon.CELL_LABEL, '')}".strip())
    return removed


def _socket_folders() -> list[str]:
    removed = []
    for folder in docker.abandoned_socket_folders():
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(f"folder {folder.name}")
    return removed
