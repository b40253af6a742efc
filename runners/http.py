"""The two questions that a launcher asks before an engine is ready; probes have a client of their own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""An opener that ignores proxy variables: engines are on loopback, or named by the user in full."""

NONE: Mapping[str, str] = {}


def answers(url: str, *, headers: Mapping[str, str] = NONE, timeout_s: float = 5.0) -> bool:
    """True where a GET is answered with 200."""
    try:
        with _DIRECT.open(urllib.request.Request(url, headers=dict(headers)), timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def get_json(url: str, *, headers: Mapping[str, str] = NONE, timeout_s: float = 10.0) -> Any:
    """The JSON behind a URL; LookupError where there is none."""
    try:
        with _DIRECT.open(urllib.request.Request(url, headers=dict(headers)), timeout=timeout_s) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise LookupError(f"{url} gives no JSON: {error}") from error
