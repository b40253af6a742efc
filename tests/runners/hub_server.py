"""A hub of one repository: the part of the Hugging Face Hub's HTTP interface that a download uses, and its faults.

GET       /api/models/REPO/tree/COMMIT       names, sizes, git and LFS checksums
HEAD, GET /REPO/resolve/COMMIT/FILE          a file, in ranges too
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPO = "someone/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"vocab_size": 7}',
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": bytes(range(256)) * 4096,
    "model-00002-of-00002.safetensors": bytes(reversed(range(256))) * 4096,
    "pytorch_model.bin": b"never fetched",
}


class Hub(ThreadingHTTPServer):
    """The server, what was asked of it, and how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fetched: list[str] = []
        """The file of each GET, in order."""
        self.damaged: Counter[str] = Counter()
        """How many times more a file is sent with a wrong byte."""
        self.cut: Counter[str] = Counter()
        """How many times more the connection closes in the middle of a file."""
        self.status = 200
        self.error_code = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def tree(self) -> list[dict[str, object]]:
        return [_entry(name, content) for name, content in FILES.items()]


def _entry(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith(".safetensors"):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """The tests look at what was asked themselves."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if self.server.status != 200:
            self._send(self.server.status, b"{}", {"X-Error-Code": self.server.error_code}, body=body)
        elif path == f"/api/models/{REPO}/tree/{COMMIT}":
            self._send(200, json.dumps(self.server.tree()).encode(), {"Content-Type": "application/json"}, body=body)
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._send_file(path.rpartition("/")[2], body=body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)

    def _send_file(self, name: str, *, body: bool) -> None:
        content = FILES[name]
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
        if not body:
            self._send(200, content, headers, body=False)
            return
        self.server.fetched.append(name)
        if self.server.damaged[name] > 0:
            self.server.damaged[name] -= 1
            content = bytes([content[0] ^ 0xFF]) + content[1:]
        begin = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        if begin:
            offset = int(begin[1])
            headers["Content-Range"] = f"bytes {offset}-{len(content) - 1}/{len(content)}"
            content = content[offset:]
        self._send(206 if begin else 200, content, headers, body=True, cut=self._is_cut(name))

    def _is_cut(self, name: str) -> bool:
        cut = self.server.cut[name] > 0
        self.server.cut[name] -= cut
        return cut

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a port of the loopback interface, until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join(5)
