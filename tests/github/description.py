"""GitHub's own published description of its API, cut to what the tracker asks, and a proxy that checks by it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
GENERATED = MODULES / "@octokit" / "openapi" / "generated"
WHOLE, CUT = GENERATED / "api.github.com.json", MODULES / "cut.json"

PATHS = {
    "/repos/{owner}/{repo}/issues": ("get", "post"),
    "/repos/{owner}/{repo}/issues/{issue_number}": ("get", "patch"),
    "/repos/{owner}/{repo}/issues/{issue_number}/comments": ("get", "post"),
    "/repos/{owner}/{repo}/issues/comments/{comment_id}": ("delete",),
    "/repos/{owner}/{repo}/labels": ("get", "post"),
    "/user": ("get",),
}
"""Everything that the tracker may ask; what is not among them, the proxy does not know."""

REFERENCE = re.compile(r'"\$ref": ?"#/components/(\w+)/([^"]+)"')


def installed() -> None:
    """Install the description and the proxy by their lock file, once."""
    with FileLock(HERE / "node_modules.lock"):  # tests may run side by side
        if CUT.is_file():
            return
        subprocess.run(("npm", "ci", "--ignore-scripts"), cwd=HERE, check=True, capture_output=True, timeout=300)
        CUT.write_text(json.dumps(cut(json.loads(WHOLE.read_text(), object_hook=compilable))))
        shutil.rmtree(GENERATED)  # half a gigabyte, most of it about other products


def compilable(schema: dict[str, Any]) -> dict[str, Any]:
    """The same in words that the checker takes: for one that it does not take it passes over a whole schema in silence.

    Those are `nullable` beside several kinds, and a null among the values of what is nullable.
    """
    if schema.get("nullable") is not True:
        return schema
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    ways = next((name for name in ("oneOf", "anyOf") if name in schema), None)
    kept = {name: value for name, value in schema.items() if name != "nullable"}
    return schema if ways is None else {**kept, ways: [*schema[ways], {"enum": [None]}]}


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """The operations named above, with all that they refer to; the whole takes a minute to load."""
    paths = {
        path: {name: value for name, value in whole["paths"][path].items() if name in methods}
        for path, methods in PATHS.items()
    }
    components: dict[str, dict[str, Any]] = {}
    texts = [json.dumps(paths)]
    while texts:
        for kind, name in REFERENCE.findall(texts.pop()):
            if name not in components.setdefault(kind, {}):
                components[kind][name] = whole["components"][kind][name]
                texts.append(json.dumps(components[kind][name]))
    kept = {name: whole[name] for name in ("openapi", "info")}
    return {**kept, "paths": paths, "components": components}


@contextmanager
def proxy(address: str, log: Path) -> Iterator[str]:
    """Put Prism before a server: a request or an answer that breaks the description is an error, and named in a log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(MODULES / ".bin" / "prism"), "proxy", str(CUT), address, "--errors", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            _wait(process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while "Prism is listening" not in log.read_text():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)  # polls for the start; bounded by `end`
