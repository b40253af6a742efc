"""A server that is already up, as a cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrix.cells import FolderSource
from matrix.errors import WrongInput
from matrix.load import Matrix
from probes import verify
from probes.tables import matrix as packaged
from tests.fake_engine import adapter, bench

ENGINES = {"fake": adapter.ENGINE}


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return packaged()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with bench.launched(adapter.ENGINE, tmp_path_factory.mktemp("deployment")) as server:
        yield server.base_url


def test_a_checkpoint_folder_is_what_its_config_says(matrix: Matrix, url: str, tmp_path: Path) -> None:
    """With the context of its part about text: a length of which nothing was asked would pass for right otherwise."""
    folder = tmp_path / "Lab_7B"
    folder.mkdir()
    text = {"max_position_embeddings": 32768, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps({"architectures": ["Lab"], "text_config": text}))
    (folder / "tokenizer.json").write_text("{}")
    found = verify.attached(matrix, ENGINES, f"{url}/v1/", str(folder), None)
    model = found.cell.model
    assert (model.id, model.source) == ("lab-7b", FolderSource(path=str(folder)))
    assert (model.architecture, model.context_length, model.dtype) == ("Lab", 32768, "bfloat16")
    assert (found.base_url, found.cell.release.engine, found.cell.config.id) == (url, "fake", "attached")


def test_a_model_of_the_matrix_is_that_model(matrix: Matrix, url: str) -> None:
    """Whatever the server calls it."""
    found = verify.attached(matrix, ENGINES, url, "smollm2-135m-instruct", "fake")
    assert found.cell.model is matrix.models["smollm2-135m-instruct"]


@pytest.mark.parametrize(
    ("of", "model", "engine", "said"),
    [
        ("ftp://x", "m", None, "'ftp://x' is no URL: expected http://host:port"),
        ("", "lab/model", None, "--model 'lab/model': neither a folder, nor REPO@COMMIT of the hub, nor a model of"),
        ("", "lab/model@main", None, "--model 'lab/model@main': neither a folder, nor REPO@COMMIT of the hub"),
        ("", "smollm2-135m-instruct", "fak", "--engine: unknown engine 'fak' (did you mean 'fake'"),
    ],
)
def test_what_cannot_be_told_is_refused(
    matrix: Matrix, url: str, of: str, model: str, engine: str | None, said: str
) -> None:
    """In one sentence, before anything is asked."""
    with pytest.raises(WrongInput, match=re.escape(said)):
        verify.attached(matrix, ENGINES, of or url, model, engine)
