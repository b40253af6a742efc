"""Interpreters that stay up for many short calls of standalone programs (host_program.py)."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from matrix.errors import Infrastructure
from runners import environments, models

PROGRAM = Path(__file__).parent / "host_program.py"
MOST = 8
"""Each holds torch and a small model: 0.5 to 1 GiB, seen on the deepest recipes."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(psutil.Process().cpu_affinity())


def side_by_side() -> int:
    """Interpreters that small work is divided among: one for each core, as far as memory goes."""
    return min(cores(), MOST)


class Host:
    """Runs programs in one environment by up to `size` interpreters, which start as calls need them."""

    def __init__(self, python: Path, size: int = 1) -> None:
        self._interpreters = [_Interpreter(python) for _ in range(size)]
        self._idle: queue.LifoQueue[_Interpreter] = queue.LifoQueue()
        for interpreter in self._interpreters:
            self._idle.put(interpreter)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the interpreters, and calls that are under way with them."""
        for interpreter in self._interpreters:
            interpreter.close()

    def run(self, program: Path, *arguments: str, deadline_s: float = models.CONVERSION_DEADLINE_S) -> str:
        """What the program printed; raises as `models.run_program` does. Waits while all interpreters are busy."""
        interpreter = self._idle.get()
        try:
            answer = interpreter.call(program, arguments, deadline_s)
        finally:
            self._idle.put(interpreter)
        return models.output_of(program, answer["code"], answer["output"], answer["errors"])


class _Interpreter:
    """One process, that starts with its first call and anew after one that ended it."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.terminate()
            self._process.wait()
            self._process = None

    def call(self, program: Path, arguments: Sequence[str], deadline_s: float) -> Any:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(deadline_s, process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps({"program": str(program), "arguments": list(arguments)}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            code, self._process = process.wait(), None
            raise Infrastructure(f"{program.name} ended with code {code} or took too long")
        return json.loads(line)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (str(self.python), "-P", str(PROGRAM)),
            env=environments.tool_environment() | models.PROGRAM_ENVIRONMENT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
