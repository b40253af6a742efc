"""The part of the Docker Engine's HTTP interface that asks a registry for a digest, with tags and digests of our own.

GET /_ping, /version                     that it is there
GET /v1.…/distribution/REPO:TAG/json     the digest behind a tag
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

REFUSED = ""
"""In the place of a digest: the registry does not answer for this tag."""


@contextmanager
def daemon(digests: Mapping[str, str]) -> Iterator[str]:
    """A daemon that fetches nothing and knows some tags; its address, for DOCKER_HOST."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = re.fullmatch(r"/v[\d.]+/distribution/(.+)/json", self.path)
            if wanted is None:
                self.answer(200, {"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"})
            elif wanted[1] not in digests:
                self.answer(404, {"message": f"manifest unknown: {wanted[1]}"})
            elif digests[wanted[1]] == REFUSED:
                self.answer(500, {"message": "toomanyrequests"})
            else:
                self.answer(200, {"Descriptor": {"digest": digests[wanted[1]]}, "Platforms": []})

        def answer(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
