"""A server that is already up becomes a cell: which engine it is, and which model it is meant to serve."""

from __future__ import annotations

from pathlib import Path

from matrix.cells import Cell, Config, Model, Release
from matrix.errors import WrongInput
from matrix.load import Matrix
from probes.session import Attached
from runners import attach, own_model
from runners.engine import Engine
from runners.own import word


def attached(matrix: Matrix, engines: dict[str, Engine], url: str, model: str, engine_name: str | None) -> Attached:
    """Describe the server at `url`; raises WrongInput where engine or model cannot be told.

    Raises Infrastructure where the Hub does not give the config.json of a model there.
    """
    url = url.rstrip("/").removesuffix("/v1")
    if not url.startswith(("http://", "https://")):
        raise WrongInput(f"{url!r} is no URL: expected http://host:port")
    engine = attach.recognise(engines, url, engine_name)
    version = attach.version(engine, url) or "unknown"
    cell = Cell(
        release=Release(
            engine=engine.name, version=word("the server's version", version), channel="stable", build="third-party",
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
    # Nobody says what the server computes in; many make bfloat16 of float32, so no more than that is held against it.
    if Path(given).is_dir():
        return own_model.of_folder(given, dtype="bfloat16")
    if own_model.HUB.match(given):
        return own_model.of_hub(given, dtype="bfloat16")
    known = ", ".join(matrix.models)
    raise WrongInput(
        f"--model {given!r}: neither a folder, nor REPO@COMMIT of the hub, nor a model of the matrix ({known})"
    )
