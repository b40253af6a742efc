"""`make bench-reference`: the reference of models larger than memory. Writes docs/reference.md from what it saw.

Needs root (memory is limited by a control group), the reference's environment, and some 25 GB of disk for one generated
checkpoint at a time. Bandwidths are compared within one run only.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from matrix.cells import Record
from probes import tables
from probes.provenance import machine
from probes.reference.stage import PROGRAM
from runners import environments
from tests.benchmarks import checkpoints
from tests.benchmarks.checkpoints import VOCABULARY, Shape
from tests.benchmarks.memory_limit import memory_limit

TARGET = Path(__file__).parents[2] / "docs" / "reference.md"

TINY = Shape(name="tiny", hidden=128, intermediate=256, layers=2)
"""What the program takes to run at all."""

SHAPES = (
    Shape(name="2 GB", hidden=1024, intermediate=4096, layers=59),
    Shape(name="8 GB", hidden=2048, intermediate=8192, layers=59),
    Shape(name="8 GB of experts", hidden=2048, intermediate=1408, layers=7, experts=64),
    Shape(name="24 GB", hidden=4096, intermediate=14336, layers=49),
)
SEQUENCES, LENGTH, LENGTH_FOR_EXPERTS = 1, 4, 96
"""So few that reading takes most of the time: what more tokens cost is known from any other forward pass. With experts
as many as it takes to have nearly all of them chosen."""
SHARE = 4
"""Memory is limited to this part of the checkpoint."""

GOAL_LAYERS = 2.0
GOAL_BANDWIDTH = 0.7
GOAL_DIFFERENCE = 1e-5
READ_BLOCK = 1 << 23
REPEATS = 3
STATE_DEADLINE_S = 300
"""Several times what a whole pass over the largest checkpoint takes at the slowest reading seen, 0.5 GB/s."""


class Run(Record, frozen=True, kw_only=True):
    """One run of the program."""

    seconds: float
    """Of the reference pass: from opening the model to its last logprob."""
    reading_seconds: float
    """Of the thread that reads, looks at what it read, and converts it."""
    peak_bytes: int
    """Resident memory, of the whole process."""
    bytes: int
    """Read from the checkpoint."""


class Measured(Record, frozen=True, kw_only=True):
    """One checkpoint."""

    name: str
    nbytes: int
    layer_bytes: int
    """The largest layer in float32, its experts included."""
    limit_bytes: int
    disk_gb_s: tuple[float, ...]
    runs: tuple[Run, ...]
    difference: float | None
    """From the same model in memory, nats, at most; None where memory does not hold it."""
    resumed: str
    damaged: str


class Everything(Record, frozen=True, kw_only=True):
    """What the page shows."""

    baseline_bytes: int
    """Peak of the program on a tiny checkpoint: Python and its libraries."""
    checkpoints: tuple[Measured, ...]


def main(arguments: list[str]) -> None:
    """Measure, print and write the page; names of shapes as arguments measure those alone and write nothing."""
    shapes = [shape for shape in SHAPES if not arguments or shape.name in arguments]
    matrix = tables.matrix()
    python = environments.build("reference-5.23.0", matrix.path("requirements/reference-5.23.0.txt")).python
    baseline = _baseline(python)
    found = tuple(measure(python, shape) for shape in shapes)
    page = document(Everything(baseline_bytes=baseline, checkpoints=found), dt.datetime.now(dt.UTC))
    print(page)
    if not arguments:
        TARGET.write_text(page)


def _baseline(python: Path) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints.write(folder / "model", TINY)
        _, peak, _ = _program(
            python, [*_words(folder / "model", _ids(folder, TINY), folder / "out.npz"), "--memory", "0"], None
        )
    return peak


def _ids(folder: Path, shape: Shape) -> Path:
    path = folder / "ids.json"
    size = SEQUENCES, LENGTH_FOR_EXPERTS if shape.experts else LENGTH
    rows = np.random.default_rng(1).integers(0, VOCABULARY, size).tolist()
    path.write_text(json.dumps({"token_ids": rows}))
    return path


def measure(python: Path, shape: Shape) -> Measured:
    """Write one checkpoint, run the reference on it under a limit, stop it, damage it."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-reference-") as name:
        folder = Path(name)
        model = folder / "model"
        print(f"{shape.name}: writing", file=sys.stderr, flush=True)
        checkpoints.write(model, shape)
        os.sync()
        ids = _ids(folder, shape)
        limit = shape.nbytes // SHARE
        disk, runs = [], []
        for _ in range(REPEATS):
            disk.append(_disk(model))
            runs.append(_reference(python, model, ids, folder / "streamed.npz", limit))
            print(f"{shape.name}: disk {disk[-1]:.2f} GB/s, {runs[-1]}", file=sys.stderr, flush=True)
        return Measured(
            name=shape.name,
            nbytes=shape.nbytes,
            layer_bytes=4 * max(shape.layer_parameters, VOCABULARY * shape.hidden),
            limit_bytes=limit,
            disk_gb_s=tuple(disk),
            runs=tuple(runs),
            difference=_difference(python, model, ids, folder) if shape.nbytes < 3e9 else None,
            resumed=_resumed(python, model, ids, folder, limit),
            damaged=_damaged(python, model, ids, folder, limit),
        )


def _disk(model: Path) -> float:
    """GB/s of reading all shards in order with an empty page cache."""
    _forget(model)
    started, total = time.monotonic(), 0
    buffer = memoryview(bytearray(READ_BLOCK))
    for shard in sorted(model.glob("*.safetensors")):
        with shard.open("rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                total += count
    return total / (time.monotonic() - started) / 1e9


def _forget(model: Path) -> None:
    """Have the kernel drop the shards from its page cache."""
    for shard in model.glob("*.safetensors"):
        with shard.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _reference(python: Path, model: Path, ids: Path, out: Path, limit: int) -> Run:
    _forget(model)
    _, peak, _ = _program(python, _words(model, ids, out), limit)
    with np.load(out) as archive:
        metadata = json.loads(str(archive["metadata"]))
    read = metadata["read"]["reference"]  # there only if the model was read part by part
    return Run(
        seconds=metadata["seconds"]["reference"], reading_seconds=read["seconds"], peak_bytes=peak, bytes=read["bytes"]
    )


def _words(model: Path, ids: Path, out: Path) -> list[str]:
    return ["score", "--model", str(model), "--ids", str(ids), "--out", str(out), "--alone"]


def _program(python: Path, words: list[str], limit: int | None) -> tuple[int, int, str]:
    """Exit status, peak of resident memory in bytes, and standard error of the program."""
    with _started(python, words, limit) as process:
        said = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 2):
        raise RuntimeError(f"the program ended with {process.returncode}: {said[-2000:]}")
    return process.returncode, usage.ru_maxrss * 1024, said


@contextlib.contextmanager
def _started(python: Path, words: list[str], limit: int | None) -> Iterator[subprocess.Popen[str]]:
    with contextlib.ExitStack() as stack:
        procs = stack.enter_context(memory_limit(limit)) if limit else None
        # The child puts itself into the group before it becomes the program, so that nothing escapes the limit.
        enter = f"echo $$ > {procs}; " if procs else ""
        command = ["sh", "-c", f'{enter}exec "$@"', "sh", str(python), "-P", str(PROGRAM), *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()


def _difference(python: Path, model: Path, ids: Path, folder: Path) -> float:
    _program(python, _words(model, ids, folder / "whole.npz"), None)
    whole, streamed = (np.load(folder / f"{name}.npz")["reference/target_logprobs"] for name in ("whole", "streamed"))
    return float(np.abs(whole - streamed).max())


def _resumed(python: Path, model: Path, ids: Path, folder: Path, limit: int) -> str:
    """Kill the program once it has written its state, run it again, and compare."""
    work = folder / "work"
    work.mkdir()
    words = [*_words(model, ids, folder / "resumed.npz"), "--work", str(work), "--note-every", "1"]
    _forget(model)
    started = time.monotonic()
    with _started(python, words, limit) as process:
        while not (work / "reference.notebook").exists():
            if process.poll() is not None:
                return "it had ended before there was a state to write"
            if time.monotonic() - started > STATE_DEADLINE_S:
                return f"no state was written within {STATE_DEADLINE_S} s"
            time.sleep(0.01)  # polls for the state; bounded by STATE_DEADLINE_S
        time.sleep(1.0)  # so that it is stopped between two states, not at one
        stopped_after = time.monotonic() - started
        process.send_signal(signal.SIGKILL)
        process.wait()
    _forget(model)
    _program(python, words, limit)
    first, second = (np.load(folder / f"{name}.npz")["reference/target_logprobs"] for name in ("streamed", "resumed"))
    seconds = json.loads(str(np.load(folder / "resumed.npz")["metadata"]))["seconds"]["reference"]
    same = "the same to the bit" if np.array_equal(first, second) else f"off by {np.abs(first - second).max():.1e}"
    shutil.rmtree(work)
    return f"killed after {stopped_after:.0f} s, went on for {seconds:.0f} s, {same}"


def _damaged(python: Path, model: Path, ids: Path, folder: Path, limit: int) -> str:
    """Put NaN into the last shard's last tensor, and then cut the shard."""
    shard = sorted(model.glob("*.safetensors"))[-1]
    sentences = []
    for damage in ("nan", "cut"):
        with shard.open("r+b") as stream:
            if damage == "nan":
                stream.seek(-2, os.SEEK_END)
                stream.write(b"\xc0\x7f")
            else:
                stream.truncate(shard.stat().st_size - 1)
        started = time.monotonic()
        status, _, said = _program(python, _words(model, ids, folder / "damaged.npz"), limit)
        assert status == 2 and shard.name in said, said
        sentences.append(
            f"{said.strip().splitlines()[-1].removeprefix('error: ')} ({time.monotonic() - started:.0f} s)"
        )
    return "; ".join(sentences)


def document(found: Everything, made_at: dt.datetime) -> str:
    """The page, in Markdown."""
    rows = [_row(one, found.baseline_bytes) for one in found.checkpoints]
    more = [f"- {one.name}: stopped: {one.resumed}. Damaged: {one.damaged}." for one in found.checkpoints]
    columns = (
        "checkpoint", "limit", "largest layer, float32", "peak", f"peak / largest layer (at most {GOAL_LAYERS:.0f})",
        "disk alone", "reading", f"of the disk's (at least {GOAL_BANDWIDTH:.0%})", "whole pass", "of the disk's",
        f"from the model in memory (at most {GOAL_DIFFERENCE:.0e})",
    )  # fmt: skip
    return f"""# The reference of models larger than memory

Made by `make bench-reference` on {made_at:%Y-%m-%d}. Not written by hand. Machine: {machine()}.

Generated checkpoints in bfloat16, {SEQUENCES} sequence of {LENGTH} tokens (with experts: {LENGTH_FOR_EXPERTS}) through
the float32 reference, memory limited by a control group to 1/{SHARE} of the checkpoint. Peaks are of resident memory
without the {found.baseline_bytes / 1e6:.0f} MB that Python and its libraries take on a tiny checkpoint. The page cache
is emptied before each run; medians of {REPEATS} runs, with their range.

| {" | ".join(columns)} |
| --- |{" ---: |" * (len(columns) - 1)}
{chr(10).join(rows)}

Of a layer with experts only the rest is held whole; experts come one at a time, those that are chosen. Reading: bytes
over the time of the thread that reads, looks for what is not finite, and converts to float32, beside the
multiplications that take the same cores. Whole pass: bytes over everything between opening the model and its last
logprob.

{chr(10).join(more)}
"""


def _row(one: Measured, baseline: int) -> str:
    peak = max(run.peak_bytes for run in one.runs) - baseline
    disk = sorted(one.disk_gb_s)
    reading = sorted(run.bytes / run.reading_seconds / 1e9 for run in one.runs)
    whole = sorted(run.bytes / run.seconds / 1e9 for run in one.runs)
    layers = peak / one.layer_bytes
    share, whole_share = (rates[len(rates) // 2] / disk[len(disk) // 2] for rates in (reading, whole))
    difference = "does not fit"
    if one.difference is not None:
        difference = f"{one.difference:.1e}" + _unless(one.difference <= GOAL_DIFFERENCE)
    cells = (
        one.name, f"{one.limit_bytes / 1e6:.0f} MB", f"{one.layer_bytes / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB",
        f"{layers:.2f}" + _unless(layers <= GOAL_LAYERS), _middle(disk), _middle(reading),
        f"{share:.0%}" + _unless(share >= GOAL_BANDWIDTH), _middle(whole), f"{whole_share:.0%}", difference,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _unless(met: bool) -> str:
    return "" if met else ", missed"


def _middle(values: list[float]) -> str:
    return f"{values[len(values) // 2]:.2f} GB/s ({values[0]:.2f}-{values[-1]:.2f})"


if __name__ == "__main__":
    main(sys.argv[1:])
