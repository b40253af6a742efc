"""The two questions that a launcher asks before an engine is ready; probes have a client of their own."""

from __future__ import annotations

import http.client
import json
import socket as sockets
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""An opener that ignores proxy variables: engines are on loopback, or named by the user in full."""

NONE: Mapping[str, str] = {}


def answers(url: str, *, headers: Mapping[str, str] = NONE, socket: Path | None = None, timeout_s: float = 5.0) -> bool:
    """True where a GET is answered with 200; `socket`: the Unix socket that leads there."""
    try:
        return _get(url, headers, socket, timeout_s) is not None
    except (OSError, ValueError, http.client.HTTPException):
        return False


def get_json(
    url: str, *, headers: Mapping[str, str] = NONE, socket: Path | None = None, timeout_s: float = 10.0
) -> Any:
    """The JSON behind a URL; LookupError where there is none."""
    try:
        return json.loads(_get(url, headers, socket, timeout_s) or b"")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise LookupError(f"{url} gives no JSON: {error}") from error


def _get(url: str, headers: Mapping[str, str], socket: Path | None, timeout_s: float) -> bytes | None:
    """The body of a 200 answer, None for any other."""
    if socket is None:
        with _DIRECT.open(urllib.request.Request(url, headers=dict(headers)), timeout=timeout_s) as answer:
            return bytes(answer.read()) if answer.status == 200 else None
    connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
    try:
        connection.sock = sockets.socket(sockets.AF_UNIX)
        connection.sock.settimeout(timeout_s)
        connection.sock.connect(str(socket))
        connection.request("GET", urlsplit(url).path, headers=dict(headers))
        reply = connection.getresponse()
        return reply.read() if reply.status == 200 else None
    finally:
        connection.close()
