"""A server that is already up becomes a cell: which engine it is, and which model it is meant to serve."""

from __future__ import annotations

import json
import re
from pathlib import Path

from matrix.cells import Cell, Config, FolderSource, HubSource, Model, Release
from matrix.errors import WrongInput
from matrix.load import Matrix
from probes.session import Attached
from runners import attach
from runners.engine import Engine

HUB_REPO = re.compile(r"^[\w.-]+/[\w.-]+(?P<revision>@[0-9a-f]{40})?$")


def attached(matrix: Matrix, engines: dict[str, Engine], url: str, model: str, engine_name: str | None) -> Attached:
    """Describe the server at `url`; raises WrongInput where engine or model cannot be told."""
    url = url.rstrip("/").removesuffix("/v1")
    if not url.startswith(("http://", "https://")):
        raise WrongInput(f"{url!r} is no URL: expected http://host:port")
    engine = attach.recognise(engines, url, engine_name)
    version = attach.version(engine, url) or "unknown"
    cell = Cell(
        release=Release(
            engine=engine.name, version=_id(version), channel="stable", build="third-party",
            build_note="A running server; how it was built is not known.", device_kinds=("unknown",),
        ),
        model=_model(matrix, model),
        device=matrix.devices["cpu"],  # the smallest workload: a stranger's server is asked gently
        config=Config(id="attached", description="Whatever the server was started with.", speed_counts=True),
    )  # fmt: skip
    return Attached(cell=cell, base_url=url, model=attach.served_model(url, default=model))


def _model(matrix: Matrix, given: str) -> Model:
    if given in matrix.models:
        return matrix.models[given]
    folder = Path(given)
    if folder.is_dir():
        return _described(folder.resolve().name, FolderSource(path=str(folder.resolve())), folder / "config.json")
    found = HUB_REPO.match(given)
    if found and found["revision"]:
        repo, revision = given.split("@")
        return _described(repo.split("/")[1], HubSource(repo=repo, revision=revision), None)
    known = ", ".join(matrix.models)
    raise WrongInput(
        f"--model {given!r}: neither a folder, nor REPO@COMMIT of the hub, nor a model of the matrix ({known})"
    )


def _described(name: str, source: FolderSource | HubSource, config: Path | None) -> Model:
    values = json.loads(config.read_text()) if config is not None and config.is_file() else {}
    return Model(
        id=_id(name),
        source=source,
        architecture=next(iter(values.get("architectures", [])), "unknown"),
        dtype="bfloat16",
        context_length=int(values.get("max_position_embeddings", 2048)),
    )


def _id(text: str) -> str:
    """Any text as a part of a cell's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace(".", "-dot-")).replace("-dot-", ".").strip(".-") or "unknown"
