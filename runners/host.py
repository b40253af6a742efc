"""One interpreter that stays up for many short calls of standalone programs (host_program.py)."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from matrix.errors import Infrastructure
from runners import environments, models

PROGRAM = Path(__file__).parent / "host_program.py"


class Host:
    """Runs programs in one environment; calls of several threads take turns. Starts with the first call."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the interpreter."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.terminate()
            self._process.wait()
            self._process = None

    def run(self, program: Path, *arguments: str, deadline_s: float = models.CONVERSION_DEADLINE_S) -> str:
        """What the program printed; raises as `models.run_program` does."""
        with self._lock:
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
        answer = json.loads(line)
        return models.output_of(program, answer["code"], answer["output"], answer["errors"])

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (str(self.python), "-P", str(PROGRAM)),
            env=environments.tool_environment() | models.PROGRAM_ENVIRONMENT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
