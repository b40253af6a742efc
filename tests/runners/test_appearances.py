"""In which release of transformers a class came."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import Infrastructure
from runners import appearances
from runners.releases import Past


def test_classes_are_found_in_real_wheels_and_unknown_ones_are_left_out() -> None:
    """Llama came with 4.28, and Seed-OSS with 4.56."""
    found = appearances.first(["LlamaForCausalLM", "SeedOssForCausalLM", "NobodyForCausalLM"])
    assert [(one.architecture, one.version, one.released) for one in found] == [
        ("LlamaForCausalLM", "4.28.0", dt.date(2023, 4, 13)),
        ("SeedOssForCausalLM", "4.56.0", dt.date(2025, 8, 29)),
    ]


@given(count=st.integers(0, 300), first=st.integers(0, 300))
def test_the_first_of_any_is_found_in_few_looks(count: int, first: int) -> None:
    """A look is half a second of network: at most nine for three hundred releases."""
    published = [Past(version=str(number), released=dt.date(2026, 1, 1)) for number in range(count)]
    looks: list[int] = []

    def holds(past: Past) -> bool:
        looks.append(int(past.version))
        return int(past.version) >= first

    found = appearances.earliest(published, holds)
    assert (None if found is None else int(found.version)) == (first if first < count else None)
    assert len(looks) <= 9


class Refuses(BaseHTTPRequestHandler):
    """Says how long a wheel is, and gives nothing of it."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, format: str, *words: object) -> None:
        return


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of such a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_wheel_that_cannot_be_read_is_no_answer(refusing: str) -> None:
    """Nothing listens at the first address; at the other one it is refused in the middle."""
    for place in ("http://127.0.0.1:9", refusing):
        with pytest.raises(Infrastructure, match=r"a wheel of transformers could not be read: \w+: "):
            appearances._registry(f"{place}/transformers-1.0-py3-none-any.whl")
