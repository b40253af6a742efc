"""What must be there before a cell starts. Whatever is short is ERROR, ours, and says what to do about it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import docker
import psutil

from matrix.cells import Cell, Device
from matrix.errors import Infrastructure
from runners import cache, daemon
from runners.images import Ready
from runners.leases import nvidia_smi
from runners.limits import GIB, Limits

FREE_DISK_BYTES = 5 * GIB
"""For logs, measurements, compiled kernels."""

FOREIGN_MIB = 1024
"""What an idle driver and a desktop hold is below this."""


def machine(cell: Cell, limits: Limits, shm: Path = Path("/dev/shm")) -> None:
    """Disk, and shared memory for the ranks of an engine on the host itself; a container has its own."""
    free = psutil.disk_usage(str(cache.root())).free if cache.root().is_dir() else FREE_DISK_BYTES
    if free < FREE_DISK_BYTES:
        raise Infrastructure(
            f"{free / GIB:.1f} GiB of disk are free, {FREE_DISK_BYTES / GIB:.0f} are needed: "
            "`readiness cache --prune-to-gib N` removes what was unused longest"
        )
    if cell.device.accelerators > 1 and shm.is_dir() and (size := shutil.disk_usage(shm).total) < limits.shm_bytes:
        raise Infrastructure(
            f"{shm} holds {size / GIB:.1f} GiB, {limits.shm_bytes / GIB:.0f} are needed: "
            f"mount -o remount,size={limits.shm_bytes // GIB}G {shm}, or use the docker launcher"
        )


def accelerators(cell: Cell, ids: Sequence[str]) -> None:
    """Foreign memory on the leased NVIDIA accelerators."""
    if cell.device.kind != "cuda":
        return
    listed = nvidia_smi("--query-gpu=index,memory.used", "--format=csv,noheader,nounits")
    if not listed:
        raise Infrastructure("nvidia-smi finds no accelerator: install the driver, or run on another machine")
    used = {index.strip(): int(mib) for index, _, mib in (line.partition(",") for line in listed.splitlines())}
    for name in ids:
        if used.get(name, 0) > FOREIGN_MIB:
            raise Infrastructure(
                f"accelerator {name} has {used[name]} MiB in use by somebody else: end it (`readiness reap` removes "
                "what our broken runs left), or leave the accelerator out with READINESS_ACCELERATORS"
            )


def driver(device: Device) -> str | None:
    """Version of the driver of this machine's NVIDIA accelerators; None for other devices, and where nobody says."""
    if device.kind != "cuda":
        return None
    listed = nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader").split()
    return listed[0] if listed else None


def containers(client: docker.DockerClient, cell: Cell, image: Ready) -> None:
    """Whether containers can have the cell's accelerators, and its image runs on their driver."""
    if cell.device.kind == "cuda":
        with daemon.blamed("the daemon does not describe itself and the image"):
            require_toolkit(client.info())
            require_driver(client.images.get(image.id).attrs["Config"].get("Env") or [], nvidia_smi())
    if cell.device.kind == "rocm" and not Path("/dev/kfd").exists():
        raise Infrastructure("there is no /dev/kfd: install AMD's driver, or run on another machine")


def require_toolkit(info: Mapping[str, object]) -> None:
    """NVIDIA's container toolkit shows as a runtime, or as a folder of device descriptions."""
    runtimes = info.get("Runtimes") or {}
    if "nvidia" not in str(runtimes) and not info.get("CDISpecDirs"):
        raise Infrastructure("containers get no NVIDIA accelerator: install nvidia-container-toolkit, restart dockerd")


def require_driver(environment: Sequence[str], smi: str) -> None:
    """An image for a newer CUDA than the driver's: `NVIDIA_REQUIRE_CUDA` of the image against nvidia-smi's heading."""
    wanted = re.search(r"^NVIDIA_REQUIRE_CUDA=.*?cuda>=(\d+)\.(\d+)", "\n".join(environment), re.M)
    has = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", smi)
    if wanted is None or has is None:
        return
    if tuple(map(int, has.groups())) < tuple(map(int, wanted.groups())):
        raise Infrastructure(
            f"the image needs a driver for CUDA {'.'.join(wanted.groups())}, this machine's is for "
            f"{'.'.join(has.groups())}: update the driver, or take an image for an older CUDA"
        )
