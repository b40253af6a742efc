"""A server's record, without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from runners.engine import Server
from tests.fake_engine.adapter import ENGINE


def server(beside: Callable[[Path, Sequence[str]], str] | None) -> Server:
    """One that runs programs beside it as told."""
    return Server(
        engine=ENGINE,
        base_url="http://127.0.0.1:1",
        model="pocket",
        model_path=Path("pocket"),
        engine_version=None,
        startup_s=0.0,
        log_path=None,
        exit_code=lambda: None,
        beside=beside,
    )
