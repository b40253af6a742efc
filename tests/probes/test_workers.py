"""Cells that share a machine."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

PROGRAM = """
import sys, psutil
from probes import workers
workers.take_cores(int(sys.argv[1]), int(sys.argv[2]))
print(*psutil.Process().cpu_affinity())
"""


@pytest.mark.parametrize(("index", "count"), [(0, 1), (0, 2), (1, 2), (500, 501)])
def test_workers_have_cores_of_their_own_as_long_as_there_are_any(index: int, count: int) -> None:
    """Each its share; one for whom none is left shares all."""
    every = psutil.Process().cpu_affinity()
    command = [sys.executable, "-c", PROGRAM, str(index), str(count)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert [int(core) for core in told.split()] == (every[index::count] or every)
