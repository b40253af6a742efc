"""Leases between real processes, and preflight with a real tool on the path that says what it is told to say."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from matrix.errors import Infrastructure
from runners import doctor, leases, limits, preflight
from runners.leases import several
from runners.limits import GIB
from tests.fake_engine.bench import CELL

pytestmark = pytest.mark.usefixtures("cache_root")

GPUS = ("0", "1", "2")
LIMITS = limits.limits(CELL, 0)
GPU_CELL = replace(CELL, device=replace(CELL.device, id="gpu", kind="cuda", accelerators=2))


def test_two_cells_get_different_accelerators() -> None:
    """Two of three and one of three do not meet, and nothing is left for a third."""
    with several("accelerator", GPUS, 2) as first, several("accelerator", GPUS, 1) as second:
        assert first == ("0", "1")
        assert second == ("2",)


def test_who_needs_more_than_there_is_hears_it() -> None:
    """Waiting for what the machine does not have would be waiting for ever."""
    with pytest.raises(Infrastructure, match="needs 4 of this machine's accelerators, it has 3"):
        several("accelerator", GPUS, 4).__enter__()


def test_one_that_needs_two_waits_for_two() -> None:
    """With one of two taken, a cell that needs two waits; once it is free, it has both."""
    got: list[tuple[str, ...]] = []

    def want_two() -> None:
        with several("accelerator", GPUS[:2], 2) as ids:
            got.append(ids)

    waiting = threading.Thread(target=want_two)
    with several("accelerator", GPUS[:2], 1):
        waiting.start()
        time.sleep(3 * leases.POLL_S)
        assert got == []
    waiting.join(10)
    assert [sorted(ids) for ids in got] == [["0", "1"]]


HOLDS = """
    import time
    from runners.leases import several
    with several("accelerator", ("0", "1"), 2):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_dead_workers_lease_is_freed() -> None:
    """kill -9 of the process that holds both frees both."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDS)],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    with several("accelerator", ("0", "1"), 2) as ids:
        assert ids == ("0", "1")


def test_a_cpu_cell_leases_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine of 17 GiB two cells of 8 run side by side, and a third would wait."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 17 * GIB}))
    eight = replace(LIMITS, needed_bytes=8 * GIB)
    entered = threading.Event()

    def third() -> None:
        with leases.lease(CELL, eight):
            entered.set()

    with leases.lease(CELL, eight) as none, leases.lease(CELL, eight):
        assert none == ()
        threading.Thread(target=third, daemon=True).start()
        assert not entered.wait(3 * leases.POLL_S)
    assert entered.wait(10)


def test_a_cell_beyond_the_machine_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """More weights than memory: said before anything is started."""
    with pytest.raises(Infrastructure, match=r"the cell needs \d+\.\d GiB of memory, this machine has"):
        limits.limits(CELL, 10**13)


# --- preflight --------------------------------------------------------------------------------------------


def nvidia_smi(folder: Path, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called nvidia-smi, first on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_accelerators_are_those_of_the_vendors_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that nvidia-smi lists, unless a variable says otherwise."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvidia_smi(tmp_path, "0\n1", monkeypatch)
    assert leases.accelerators("cuda") == ["0", "1"]
    monkeypatch.setenv("READINESS_ACCELERATORS", "3, 5")
    assert leases.accelerators("cuda") == ["3", "5"]


def test_a_vendors_tool_that_hangs_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is not the same as no device; the doctor says it and goes on."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvidia_smi(tmp_path, "", monkeypatch)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(leases, "SMI_DEADLINE_S", 0.2)
    with pytest.raises(Infrastructure, match="nvidia-smi has not answered within 0 s"):
        leases.accelerators("cuda")
    found = {finding.what: finding for finding in doctor.examine()}
    assert not found["NVIDIA accelerator"].good


def test_foreign_memory_on_an_accelerator_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's 5 GB would make the engine run out of memory; the sentence says what to do."""
    nvidia_smi(tmp_path, "0, 12\n1, 5000", monkeypatch)
    preflight.accelerators(GPU_CELL, ("0",))
    with pytest.raises(Infrastructure, match="accelerator 1 has 5000 MiB in use by somebody else"):
        preflight.accelerators(GPU_CELL, ("0", "1"))


def test_the_driver_is_that_of_the_vendors_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first accelerator, for all have the same; a device without NVIDIA's accelerators has none."""
    nvidia_smi(tmp_path, "570.1\n570.1", monkeypatch)
    assert preflight.driver(GPU_CELL.device) == "570.1"
    assert preflight.driver(CELL.device) is None


def test_no_driver_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU cell on a machine without a GPU."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Infrastructure, match="nvidia-smi finds no accelerator"):
        preflight.accelerators(GPU_CELL, ())


def test_an_image_for_a_newer_driver_is_our_error() -> None:
    """CUDA 13.0 in the image and 12.8 in the driver: update, or take another image."""
    heading = "| NVIDIA-SMI 570.1    Driver Version: 570.1    CUDA Version: 12.8 |"
    preflight.require_driver(["NVIDIA_REQUIRE_CUDA=cuda>=12.8 brand=x,driver>=535"], heading)
    with pytest.raises(Infrastructure, match=r"needs a driver for CUDA 13\.0, this machine's is for 12\.8"):
        preflight.require_driver(["PATH=/bin", "NVIDIA_REQUIRE_CUDA=cuda>=13.0"], heading)


def test_a_missing_toolkit_is_our_error() -> None:
    """Docker without NVIDIA's runtime gives no container an accelerator."""
    preflight.require_toolkit({"Runtimes": {"nvidia": {}, "runc": {}}})
    with pytest.raises(Infrastructure, match="install nvidia-container-toolkit"):
        preflight.require_toolkit({"Runtimes": {"runc": {}}})


def test_too_little_shared_memory_is_our_error() -> None:
    """Tensor parallel ranks on the host itself need it; the sentence gives the command."""
    large = replace(LIMITS, shm_bytes=2**60)
    with pytest.raises(Infrastructure, match="mount -o remount,size="):
        preflight.machine(GPU_CELL, large)


def test_a_full_disk_is_our_error(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less free than logs and kernels need: said before the start, with the command that frees some."""
    cache_root.mkdir()
    monkeypatch.setattr(preflight, "FREE_DISK_BYTES", 2**60)
    with pytest.raises(Infrastructure, match="readiness cache --prune-to-gib"):
        preflight.machine(CELL, LIMITS)
