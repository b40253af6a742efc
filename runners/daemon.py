"""The Docker daemon: whether one answers, what of ours it holds, and how what we made there is known and removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from matrix.errors import Infrastructure

LABEL = "readiness.run"
"""Label of every container: RUN/HOLDER/UNIQUE, as on processes (see owner.py)."""

CELL_LABEL = "readiness.cell"
KERNELS_LABEL = "readiness.kernels"
"""Label of the volumes that hold compiled kernels; its value is the digest of the image that they belong to."""

BUILD_DEADLINE_S = 60 * 60


def client(timeout_s: float = 60.0) -> docker.DockerClient:
    """A client of the daemon that the ordinary variables name; raises Infrastructure where none answers."""
    try:
        found = docker.from_env(timeout=timeout_s)
    except DockerException as error:
        raise Infrastructure(f"no Docker daemon answers: {reason(error)}") from error
    try:
        found.ping()
    except (DockerException, RequestException) as error:
        found.close()
        raise Infrastructure(f"no Docker daemon answers: {reason(error)}") from error
    return found


@contextmanager
def connected(timeout_s: float = 60.0) -> Iterator[docker.DockerClient]:
    """A client for the time of the block."""
    found = client(timeout_s)
    try:
        yield found
    finally:
        found.close()


def version() -> str | None:
    """The version of the daemon, None where none answers."""
    try:
        with connected(5.0) as found:
            return str(found.version()["Version"])
    except Infrastructure:
        return None


def reason(error: Exception) -> str:
    """What the daemon or its client says went wrong, in one line."""
    text = (error.explanation if isinstance(error, APIError) else None) or str(error)
    return " ".join(str(text).split())[:400]


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Whatever the daemon refuses inside the block is ours, with its own words."""
    try:
        yield
    except (DockerException, RequestException) as error:
        raise Infrastructure(f"{what}: {reason(error)}") from error


def containers(found: docker.DockerClient, prefix: str = "") -> list[Container]:
    """Our containers, running or not, whose label begins as given."""
    ours = found.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return [container for container in ours if container.labels[LABEL].startswith(prefix)]


def remove(container: Container) -> None:
    """Kill and remove a container with its anonymous volumes; one that is gone is fine."""
    with suppress(NotFound):
        try:
            container.remove(force=True, v=True)
        except APIError as error:
            if error.status_code != 409:  # somebody is removing it at this moment
                raise
