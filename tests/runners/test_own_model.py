"""What a user's checkpoint is in the words of the matrix, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from matrix.cells import FolderSource, HubSource
from matrix.errors import Infrastructure, WrongInput
from runners import own_model
from tests.runners import hub_server
from tests.runners.hub_server import COMMIT, REPO

CONFIG = {"architectures": ["LabForCausalLM"], "dtype": "bfloat16", "max_position_embeddings": 4096}


def checkpoint(folder: Path, config: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("config", "known"),
    [
        (CONFIG, ("LabForCausalLM", "bfloat16", 4096, False)),
        ({**CONFIG, "dtype": None, "torch_dtype": "torch.float16"}, ("LabForCausalLM", "float16", 4096, False)),
        (
            {"architectures": ["Lab"], "text_config": {"dtype": "float32", "n_ctx": 7}, "vision_config": {}},
            ("Lab", "float32", 7, True),
        ),
        ({**CONFIG, "text_config": {"max_position_embeddings": 9}}, ("LabForCausalLM", "bfloat16", 9, False)),
    ],
)
def test_a_checkpoint_is_described_by_its_config(
    tmp_path: Path, config: dict[str, Any], known: tuple[object, ...]
) -> None:
    """The part about text counts before what is around it."""
    folder = checkpoint(tmp_path / "Lab-7B_Preview", config)
    model = own_model.of_folder(str(folder))
    assert (model.id, model.source) == ("lab-7b-preview", FolderSource(path=str(folder)))
    assert (model.architecture, model.dtype, model.context_length, model.text_only) == known


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "config.json of lab: not JSON: "),
        ([], "config.json of lab: found list, expected an object with keys"),
        ({**CONFIG, "architectures": []}, "architectures is [], expected a list with the name of a class"),
        ({**CONFIG, "dtype": "float8"}, "dtype is 'float8', expected one of bfloat16, float16, float32"),
        ({**CONFIG, "dtype": None}, "none of the keys dtype, torch_dtype is in it"),
        ({**CONFIG, "max_position_embeddings": -1}, "the context length is -1, expected a number of tokens"),
        ({**CONFIG, "max_position_embeddings": "long"}, "the context length is 'long', expected a number of tokens"),
    ],
)
def test_a_config_that_does_not_say_what_must_be_known_is_refused(tmp_path: Path, config: object, said: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(WrongInput, match=re.escape(said)):
        own_model.of_folder(str(checkpoint(tmp_path / "lab", config)))


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """By what is not in it."""
    with pytest.raises(WrongInput, match=r"no checkpoint, for config\.json, tokenizer\.json is not in it"):
        own_model.of_folder(str(tmp_path))


@pytest.mark.parametrize("spelling", ["lab/model", "lab/model@main", f"model@{COMMIT}", f"lab/model@{COMMIT[:12]}"])
def test_a_checkpoint_on_the_hub_is_named_with_its_whole_commit(spelling: str) -> None:
    """A branch moves."""
    with pytest.raises(WrongInput, match="expected OWNER/NAME@COMMIT, with all 40 digits of the commit"):
        own_model.of_hub(spelling)


def test_of_a_checkpoint_on_the_hub_its_config_alone_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are a matter of the run."""
    monkeypatch.setitem(hub_server.FILES, "config.json", json.dumps(CONFIG).encode())
    with hub_server.serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        model = own_model.of_hub(f"{REPO}@{COMMIT}")
        assert hub.fetched == ["config.json"]
    assert (model.id, model.source) == ("model", HubSource(repo=REPO, revision=COMMIT))
    assert model.architecture == "LabForCausalLM"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", "accept its licence there and set HF_TOKEN"),
        (404, "RepoNotFound", "the hub did not give config.json of someone/model at 0123456789ab"),
        (503, "", "the hub did not give config.json of someone/model at 0123456789ab"),
    ],
)
def test_a_hub_that_does_not_give_it_is_no_wrong_input(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, said: str
) -> None:
    """It may give it tomorrow, or to somebody who has accepted the licence."""
    with hub_server.serving() as hub:
        hub.status, hub.error_code = status, code
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(Infrastructure, match=said):
            own_model.of_hub(f"{REPO}@{COMMIT}")
