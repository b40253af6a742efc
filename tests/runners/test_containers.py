"""What a container is created with, as it is said to a daemon; none is asked here (test_docker.py does)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runners import containers, limits
from runners.images import Ready
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, spec

IMAGE = Ready(name="fake:1", id="sha256:" + "a" * 64, digest="sha256:d", python="/opt/engine/bin/python", user="1:1")


def settings(kind: str = "cpu", *, online: bool = False, model: Path = Path("pocket")) -> dict[str, Any]:
    """Of the fake engine on two accelerators of a kind."""
    cell = replace(CELL, device=replace(CELL.device, kind=kind), release=replace(CELL.release, cap_add=("SYS_NICE",)))
    there = replace(spec(), cell=cell, accelerators=("1", "3"), online=online, model_path=model)
    return containers.settings(fake_engine(), there, IMAGE, limits.limits(CELL, 0), "run/1-2.00/x", ("-V",))


def test_the_engine_is_closed_in() -> None:
    """No network, no capability but what its release needs back, nothing to write but /tmp and the kernels' volume."""
    given = settings()
    closed = ("network_mode", "cap_drop", "cap_add", "security_opt", "read_only", "stdin_open")
    assert [given[name] for name in closed] == ["none", ["ALL"], ["SYS_NICE"], ["no-new-privileges"], True, False]
    assert [(mount["Target"], mount["ReadOnly"]) for mount in given["mounts"]] == [
        ("/model", True),
        ("/opt/shims", True),
        ("/cache", False),
    ]
    assert (given["environment"]["HOME"], given["environment"]["HF_HUB_OFFLINE"]) == ("/cache", "1")


def test_the_second_try_has_a_network_and_is_not_told_to_do_without() -> None:
    """All else is as in the first."""
    first, second = settings(), settings(online=True)
    assert {name for name in first if first[name] != second[name]} == {"network_mode", "environment"}
    assert second["network_mode"] == "bridge"
    assert first["environment"].items() - second["environment"].items() == {
        ("HF_HUB_OFFLINE", "1"),
        ("TRANSFORMERS_OFFLINE", "1"),
    }


def test_a_file_of_weights_keeps_its_name(tmp_path: Path) -> None:
    """Engines tell its format by it."""
    file = tmp_path / "weights.gguf"
    file.touch()
    assert settings(model=file)["mounts"][0]["Target"] == "/model/weights.gguf"


@pytest.mark.parametrize(("kind", "visible"), [("cpu", None), ("cuda", None), ("rocm", "1,3")])
def test_accelerators_are_asked_for_as_their_makers_want_it(kind: str, visible: str | None) -> None:
    """NVIDIA's by id; AMD's by files, groups and a variable; a CPU needs nothing."""
    given = settings(kind)
    requests = given.get("device_requests", [])
    assert [request["DeviceIDs"] for request in requests] == ([["1", "3"]] if kind == "cuda" else [])
    assert given.get("group_add", []) == (["video", "render"] if kind == "rocm" else [])
    assert given["environment"].get("ROCR_VISIBLE_DEVICES") == visible
