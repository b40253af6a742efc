"""The way into an engine's container: a Unix socket that leads to a port, by the program that a container runs."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runners import http, venv
from runners.docker import RELAY_PROGRAM
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import launched


@contextmanager
def relay(folder: Path, port: int) -> Iterator[Path]:
    """The program, until the block ends; its socket."""
    path = folder / "engine.sock"
    words = [sys.executable, "-I", str(RELAY_PROGRAM), str(path), str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "relay ready\n"
            yield path
        finally:
            process.kill()


def test_what_is_asked_through_the_socket_is_answered_by_the_engine(tmp_path: Path) -> None:
    """By a launcher's two questions, one after the other; another host in the address does not matter."""
    with launched(fake_engine(), tmp_path) as server, relay(tmp_path, int(server.base_url.rpartition(":")[2])) as path:
        assert http.answers("http://engine/health", socket=path)
        assert http.get_json("http://engine/version", socket=path) == {"version": "0.0.1", "engine": "fake"}
        with pytest.raises(LookupError, match="http://engine/none gives no JSON"):
            http.get_json("http://engine/none", socket=path)


def test_an_engine_that_does_not_listen_yet_is_not_healthy(tmp_path: Path) -> None:
    """The connection ends, and the relay goes on: the engine may listen a moment later."""
    with relay(tmp_path, venv.free_port()) as path:
        assert not http.answers("http://engine/health", socket=path)
        with socket.socket(socket.AF_UNIX) as again:
            again.connect(str(path))
