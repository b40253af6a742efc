"""The attach launcher: a server that somebody else started, at a URL that somebody gave."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from matrix.errors import Infrastructure, WrongInput
from matrix.load import did_you_mean
from runners import http
from runners.engine import Engine, Server

API_KEY = "READINESS_API_KEY"
"""Environment variable with the key of a server that wants one."""


@contextmanager
def attach(engine: Engine, base_url: str, model: str, model_path: Path) -> Iterator[Server]:
    """A running server as a `Server`; it is neither watched nor stopped."""
    started = time.monotonic()
    if not http.answers(base_url + engine.health_path, headers=credentials()):
        raise Infrastructure(f"{base_url}{engine.health_path} does not answer 200, so no healthy server is there")
    yield Server(
        engine=engine,
        base_url=base_url,
        model=model,
        model_path=model_path,
        engine_version=version(engine, base_url),
        startup_s=time.monotonic() - started,
        log_path=None,
        exit_code=lambda: None,
        headers=credentials(),
    )


def credentials() -> dict[str, str]:
    """What a server that wants a key is told with each request; never stored with a result."""
    key = os.environ.get(API_KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def version(engine: Engine, base_url: str) -> str | None:
    """What a server says of its version, if it is this engine."""
    return engine.version(lambda path: http.get_json(base_url + path, headers=credentials()))


def recognise(engines: Mapping[str, Engine], base_url: str, name: str | None) -> Engine:
    """The engine at a URL: the one that the user names, else the one whose version route answers."""
    if name is not None:
        if name not in engines:
            raise WrongInput(f"--engine: unknown engine {name!r}{did_you_mean(name, sorted(engines))}")
        return engines[name]
    for engine in engines.values():
        if version(engine, base_url) is not None:
            return engine
    raise WrongInput(f"{base_url}: the server does not say what it is; name it with --engine ({', '.join(engines)})")


def served_model(base_url: str, *, default: str) -> str:
    """The first model id of the server's /v1/models; `default` where it has no such list."""
    try:
        return str(http.get_json(f"{base_url}/v1/models", headers=credentials())["data"][0]["id"])
    except (LookupError, TypeError):
        return default
