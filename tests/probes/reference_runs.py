"""The reference program, many times in one process: importing torch and transformers takes longer than a tiny model."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from probes.reference.stage import PROGRAM

SERVE = """
import contextlib, io, json, runpy, sys
command = runpy.run_path(sys.argv[1])["command"]()
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


class Done(NamedTuple):
    """What came of one run."""

    returncode: int
    stdout: str
    stderr: str


class Runs:
    """A process that does what it is told, one run after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *arguments: str | Path) -> Done:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(word) for word in arguments]) + "\n")
        self._process.stdin.flush()
        return Done(*json.loads(self._process.stdout.readline()))


@contextmanager
def runs(python: Path) -> Iterator[Runs]:
    """The program in one process of the reference's environment."""
    command = [str(python), "-P", "-c", SERVE, str(PROGRAM / "__main__.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Runs(process)
        assert process.stdin is not None
        process.stdin.close()
