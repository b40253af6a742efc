"""Many calls of a standalone program by one interpreter: `python -P host_program.py`, which reads calls from stdin.

A program that imports torch spends seconds on it and milliseconds on a small model. Each line on stdin is
{"program": folder, "arguments": […]}; each line on stdout {"code": n, "output": text, "errors": text}. A program is a
folder whose `__main__.py` has `command()`, which returns its main function. Ends when stdin does, and so with its
parent. Standalone: imports nothing of this project.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

Main = Callable[[Sequence[str]], int]


def program(folder: Path) -> Main:
    """A program's main function."""
    spec = importlib.util.spec_from_file_location(f"host_{folder.parent.name}", folder / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Main = module.command()
    return found


def call(main: Main, arguments: Sequence[str]) -> dict[str, object]:
    """Run it as a process of its own would be run: by its exit code, and its words on both streams."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception:
            traceback.print_exc()
            code = 1
    return {"code": code, "output": output.getvalue(), "errors": errors.getvalue()}


def serve() -> None:
    """Answer calls until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries write past Python must not stand between two answers
    known: dict[str, Main] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        folder = asked["program"]
        known[folder] = known.get(folder) or program(Path(folder))
        print(json.dumps(call(known[folder], asked["arguments"])), file=answers, flush=True)


if __name__ == "__main__":
    serve()
