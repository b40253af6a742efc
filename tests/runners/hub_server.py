"""A hub: the part of the Hugging Face Hub's HTTP interface that downloads and listings use, and its faults.

GET       /api/models?author=…&sort=…        repositories, in pages
GET       /api/models/REPO                   one of them; by an old name, where it is now
GET       /api/models/REPO/tree/COMMIT       names, sizes, git and LFS checksums
HEAD, GET /REPO/resolve/COMMIT/FILE          a file, in ranges too

REPO with its FILES is there for downloads; `repos` are listed.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPO = "someone/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"vocab_size": 7}',
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": bytes(range(256)) * 4096,
    "model-00002-of-00002.safetensors": bytes(reversed(range(256))) * 4096,
    "pytorch_model.bin": b"never fetched",
}

PAGE = 2
"""Repositories of a listing that are sent at once."""


@dataclass(kw_only=True)
class Repo:
    """A repository that is listed."""

    name: str
    files: dict[str, bytes]
    created: str = "2026-11-20T08:00:00.000Z"
    tags: tuple[str, ...] = ()
    task: str | None = "text-generation"
    gated: str | bool = False
    closed: bool = False
    """Nobody here may read its files."""
    private: bool = False
    elements: dict[str, int] | None = None
    """As the hub has counted them."""
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return hashlib.sha1(self.name.encode()).hexdigest()

    def told(self, *, whole: bool) -> dict[str, Any]:
        """What the interface says of it; `whole`: of it alone, with sizes and its card."""
        counted = {"parameters": self.elements, "total": sum(self.elements.values())} if self.elements else None
        sizes = {name: {"size": len(content)} if whole else {} for name, content in self.files.items()}
        return {
            "id": self.name,
            "sha": self.commit,
            "createdAt": self.created,
            "gated": self.gated,
            "private": self.private,
            "pipeline_tag": self.task,
            "tags": [*self.tags, "safetensors"],
            "siblings": [{"rfilename": name, **size} for name, size in sizes.items()],
            **({"safetensors": counted} if counted else {}),
            **({"cardData": self.card} if whole else {}),
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
        self.repos: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}
        self.asked: list[str] = []
        """The path of each request, with its range."""
        self.refusals: dict[str, list[tuple[int, dict[str, str]]]] = {}
        """By the beginning of a path: status and headers of the next answers."""

    def add(self, *repos: Repo) -> None:
        self.repos |= {repo.name: repo for repo in repos}

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
        self.server.asked.append(" ".join(filter(None, (self.path, self.headers.get("Range")))))
        refusals = next((left for start, left in self.server.refusals.items() if self.path.startswith(start)), [])
        if refusals:
            status, headers = refusals.pop(0)
            self._send(status, b"{}", headers, body=body)
        elif self.server.status != 200:
            self._send(self.server.status, b"{}", {"X-Error-Code": self.server.error_code}, body=body)
        elif path == f"/api/models/{REPO}/tree/{COMMIT}":
            self._send(200, json.dumps(self.server.tree()).encode(), {"Content-Type": "application/json"}, body=body)
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._send_file(path.rpartition("/")[2], body=body)
        elif path == "/api/models":
            self._list(parse_qs(urlsplit(self.path).query))
        else:
            self._of_repos(unquote(path))

    def _list(self, asked: Mapping[str, list[str]]) -> None:
        """One page of what an account has, or of everything, the newest first; and where the next one is."""
        author = asked.get("author", [""])[0]
        found = [repo for repo in self.server.repos.values() if not author or repo.name.startswith(f"{author}/")]
        found.sort(key=lambda repo: repo.created, reverse=True)
        start = int(asked.get("cursor", ["0"])[0])
        following = f"{self.server.url}/api/models?author={author}&cursor={start + PAGE}"
        headers = {"Link": f'<{following}>; rel="next"'} if start + PAGE < len(found) else {}
        self._json([repo.told(whole=False) for repo in found[start : start + PAGE]], headers)

    def _of_repos(self, path: str) -> None:
        for old, new in self.server.renamed.items():
            if old in path:
                self._send(307, b"", {"Location": path.replace(old, new)}, body=True)
                return
        for repo in self.server.repos.values():
            if path == f"/api/models/{repo.name}":
                self._json(repo.told(whole=True), {})
                return
            if path.startswith(f"/{repo.name}/resolve/{repo.commit}/"):
                self._file(repo, path.partition(f"/resolve/{repo.commit}/")[2])
                return
        self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=True)

    def _file(self, repo: Repo, name: str) -> None:
        if repo.closed:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=True)
        elif name not in repo.files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=True)
        else:
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            content = repo.files[name]
            part = content[int(wanted[1]) : int(wanted[2]) + 1] if wanted else content
            self._send(206 if wanted else 200, part, {}, body=True)

    def _json(self, value: object, headers: Mapping[str, str]) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **headers}, body=True)

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
