"""What a device can do, measured: `python -P device_program.py KIND DTYPE` prints one JSON object.

Standalone: it runs in the engine's environment or image, beside the engine that is up and idle, and imports nothing of
this project. With torch where the environment has it, with numpy and threads where not.

- bandwidth: bytes per second, the most that a large copy (bytes read and written) or a large sum (bytes read) reached.
- flops: floating-point operations per second of a large square matrix product, 2 * n^3 each; on a CPU in float32 too,
  for many multiply bfloat16 more slowly than that, and engines go round it.

Each is repeated; the best counts, for a bound is what can be reached, and the spread of all is told besides.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

REPEATS = 5
LONGEST_S = 1.0
"""For one kind of measurement; at least three repeats are made."""
LEAST = 3

CPU_BYTES = 2**28
"""Larger than the caches of all but the largest servers, small enough for a small one."""
GPU_BYTES = 2**30
CPU_SIDE = 2048
GPU_SIDE = 8192
"""Of the matrices that are multiplied."""


def repeated(run: Callable[[], object], amount: float) -> list[float]:
    """Amount per second, of several runs after one that warms up."""
    run()
    rates: list[float] = []
    began = time.monotonic()
    while len(rates) < REPEATS and (len(rates) < LEAST or time.monotonic() - began < LONGEST_S):
        started = time.perf_counter()
        run()
        rates.append(amount / (time.perf_counter() - started))
    return rates


def by_torch(torch: Any, kind: str, dtype: str) -> tuple[dict[str, list[float]], str]:
    """Copy, sum and product on the device; and the dtype of the faster products."""
    device = "cuda" if kind == "cuda" else "cpu"
    size = GPU_BYTES if device == "cuda" else CPU_BYTES
    side = GPU_SIDE if device == "cuda" else CPU_SIDE
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)

    def then_wait(run: Callable[[], object]) -> Callable[[], None]:
        def whole() -> None:
            run()
            if device == "cuda":
                torch.cuda.synchronize()

        return whole

    def products(name: str) -> list[float]:
        left = torch.ones((side, side), dtype=getattr(torch, name), device=device)
        product = torch.empty_like(left)
        return repeated(then_wait(lambda: torch.matmul(left, left, out=product)), 2 * side**3)

    with torch.inference_mode():
        tried = {name: products(name) for name in ({dtype, "float32"} if device == "cpu" else {dtype})}
        fastest = max(tried, key=lambda name: max(tried[name]))
        rates = {
            "copy": repeated(then_wait(lambda: target.copy_(source)), 2 * size),
            "sum": repeated(then_wait(source.sum), size),
            "flops": tried[fastest],
        }
    return rates, fastest


def by_numpy(numpy: Any) -> dict[str, list[float]]:
    """The same with one thread per core over a part each; numpy multiplies in float32 alone."""
    threads = len(os.sched_getaffinity(0))
    source = numpy.ones(CPU_BYTES // 4, dtype=numpy.float32)
    target = numpy.empty_like(source)
    parts = list(zip(numpy.array_split(target, threads), numpy.array_split(source, threads), strict=True))
    left = numpy.ones((CPU_SIDE, CPU_SIDE), dtype=numpy.float32)
    product = numpy.empty_like(left)

    def copy(part: Any) -> None:
        numpy.copyto(part[0], part[1])

    def add(part: Any) -> None:
        part[1].sum()

    with ThreadPoolExecutor(threads) as pool:
        return {
            "copy": repeated(lambda: deque(pool.map(copy, parts), maxlen=0), 2 * CPU_BYTES),
            "sum": repeated(lambda: deque(pool.map(add, parts), maxlen=0), CPU_BYTES),
            "flops": repeated(lambda: numpy.matmul(left, left, out=product), 2 * CPU_SIDE**3),
        }


def state_of_gpu() -> dict[str, str]:
    """Name, driver, clocks and temperature, where nvidia-smi tells."""
    asked = ("name", "driver_version", "clocks.sm", "clocks.mem", "temperature.gpu")
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return {}
    return dict(zip(asked, (word.strip() for word in told.split(",")), strict=False))


def main(kind: str, dtype: str) -> None:
    """Measure and print."""
    try:
        import torch
    except ImportError:
        import numpy

        rates, by, used = by_numpy(numpy), "numpy", "float32"
    else:
        (rates, used), by = by_torch(torch, kind, dtype), "torch"
    state = state_of_gpu() if kind == "cuda" else {}
    print(json.dumps({"rates": rates, "by": by, "dtype": used, "state": state}))


if __name__ == "__main__":
    main(*sys.argv[1:])
