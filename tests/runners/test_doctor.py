"""What a machine is said to have and to lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners import doctor
from runners.doctor import Finding
from tests.runners import registry_server


def found(what: str) -> Finding:
    """The finding on one thing."""
    return next(finding for finding in doctor.examine() if finding.what == what)


@pytest.mark.usefixtures("cache_root")
def test_what_lacks_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon, no accelerator, no compiler: each is a finding, and none ends the others."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.what: finding for finding in doctor.examine()}
    lacking = {name: findings[name] for name in ("C and C++ compiler", "Docker", "NVIDIA accelerator", "Chromium")}
    assert {name: (one.found, one.good) for name, one in lacking.items()} == {
        "C and C++ compiler": ("none", False),
        "Docker": ("no daemon answers", False),
        "NVIDIA accelerator": ("none", False),
        "Chromium": ("none", False),
    }
    assert all(finding.advice for finding in lacking.values())
    assert len(findings) == 8


@pytest.mark.usefixtures("cache_root")
def test_what_is_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon by its version, accelerators by their names and their driver."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with registry_server.daemon({}) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        docker = found("Docker")
    assert (docker.found, docker.good) == ("Docker Engine 28.0.0", True)
    gpu = found("NVIDIA accelerator")
    assert (gpu.found, gpu.good) == ("NVIDIA H100 80GB HBM3, 570.1", True)
