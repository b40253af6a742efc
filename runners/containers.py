"""What a container is created with: what it sees and where, its devices, its limits, and how it is closed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import psutil
from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from matrix.cells import Device
from runners import daemon
from runners.engine import OFFLINE, QUIET, Engine, Environment, Launch
from runners.images import Ready, kernels_volume
from runners.limits import Limits

FOLDER = Path("/opt/engine")
MODEL = Path("/model")
SHIMS = Path("/opt/shims")
KERNELS = Path("/cache")
PORT = 8000
TMP_BYTES = 4 * 2**30


def inside(image: Ready) -> Environment:
    """An image's interpreter and packages, as the paths inside name them."""
    return Environment(folder=FOLDER, python=Path(image.python), requirements_sha256=image.requirements_sha256 or "")


def launch_inside(spec: Launch, image: Ready) -> Launch:
    """A launch as it is inside, where its places have other paths."""
    return msgspec.structs.replace(
        spec, environment=inside(image), model_path=_mounted(spec.model_path), port=PORT, shims=SHIMS,
        compile_cache=KERNELS,
    )  # fmt: skip


def _mounted(model_path: Path) -> Path:
    return MODEL / model_path.name if model_path.is_file() else MODEL


def settings(
    engine: Engine, spec: Launch, image: Ready, limits: Limits, label: str, words: tuple[str, ...]
) -> dict[str, Any]:
    """What the container is created with; pure but for looking whether the model is a file or a folder."""
    inner = launch_inside(spec, image)
    return {
        **hardened(image, label, spec.cell.id),
        **devices(spec.cell.device, spec.accelerators),
        "entrypoint": [image.python],
        "command": list(words),
        "environment": environment(engine, inner),
        "network_mode": "bridge" if spec.online else "none",
        "cap_add": list(spec.cell.release.cap_add),
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "shm_size": limits.shm_bytes,
        "cpuset_cpus": ",".join(str(core) for core in sorted(psutil.Process().cpu_affinity())),  # ours, as a child's
        "pids_limit": limits.processes,
        "mounts": [
            read_only(spec.model_path, inner.model_path),
            read_only(spec.shims, SHIMS),
            kernels(image),
        ],
    }


def hardened(image: Ready, label: str, cell_id: str) -> dict[str, Any]:
    """What every container of ours is created with: an init, no capabilities, nothing to write but /tmp."""
    return {
        "image": image.id,
        "labels": {daemon.LABEL: label, daemon.CELL_LABEL: cell_id},
        "init": True,
        "user": image.user,
        "hostname": "engine",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,exec,mode=1777,size={TMP_BYTES}"},
        "stdin_open": False,
        # The log is ours from the first byte on: what the daemon keeps besides must not fill the disk.
        "log_config": LogConfig(type="none"),
        "detach": True,
    }


def devices(device: Device, visible: tuple[str, ...]) -> dict[str, Any]:
    """How a container gets its accelerators: device requests for NVIDIA, device files and groups for ROCm."""
    unlimited = [Ulimit(name="memlock", soft=-1, hard=-1)]
    match device.kind:
        case "cuda":
            request = DeviceRequest(driver="nvidia", device_ids=list(visible), capabilities=[["gpu"]])
            return {"device_requests": [request], "ulimits": unlimited}
        case "rocm":
            return {
                "devices": ["/dev/kfd:/dev/kfd:rw", "/dev/dri:/dev/dri:rw"],
                "group_add": ["video", "render"],
                "ulimits": unlimited,
            }
        case _:
            return {}


def read_only(source: Path, target: Path) -> Mount:
    """A file or folder of the host that the container may read."""
    return Mount(target=str(target), source=str(source.resolve()), type="bind", read_only=True)


def kernels(image: Ready) -> Mount:
    """The volume of compiled kernels: one an image, so that they are neither rebuilt each night nor mistaken."""
    name = kernels_volume(image.id)
    return Mount(target=str(KERNELS), source=name, type="volume", labels={daemon.KERNELS_LABEL: image.digest})


def environment(engine: Engine, inner: Launch) -> dict[str, str]:
    """The variables of an engine's container, and of a program that runs in its stead; none of ours is passed on."""
    visible = {}
    if inner.cell.device.kind == "rocm" and inner.accelerators:
        visible = {"ROCR_VISIBLE_DEVICES": ",".join(inner.accelerators)}
    home = {"HOME": str(KERNELS), "USER": "readiness", "TMPDIR": "/tmp"}  # no such user need be in its passwd
    hub = {} if inner.online else OFFLINE
    return {**home, **QUIET, **hub, **visible, **engine.environment(inner)}
