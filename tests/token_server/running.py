"""The token server in a process of its own, and how it looks to a client."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import msgspec

from runners import venv
from runners.engine import Server
from runners.engines.vllm import ENGINE
from tests.token_server.log import Sent
from tests.token_server.serve import MODEL, Schedule

READY_S = 20.0


@contextmanager
def serving(schedule: Schedule, before: Sequence[str] = ()) -> Iterator[str]:
    """Serve for the time of the block; gives the URL. `before` goes before the command, to choose a core."""
    port = venv.free_port()
    told = [f"--port={port}", f"--schedule={msgspec.json.encode(schedule).decode()}"]
    with subprocess.Popen([*before, sys.executable, "-m", "tests.token_server.serve", *told]) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield url
        finally:
            process.terminate()


def _wait(url: str) -> None:
    end = time.monotonic() + READY_S
    while True:
        try:
            httpx.get(f"{url}/health").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def log(url: str) -> list[Sent]:
    """What it really sent, in the order of the requests."""
    return msgspec.convert(httpx.get(f"{url}/log").json(), list[Sent], strict=False)


def server_at(url: str) -> Server:
    """As a running vLLM, whose stream it speaks."""
    return Server(
        engine=ENGINE,
        base_url=url,
        model=MODEL,
        model_path=Path(),
        engine_version=None,
        startup_s=0.0,
        log_path=None,
        exit_code=lambda: None,
    )
