"""Models from the hub and from folders: complete and verified, or refused with the reason."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from matrix.cells import FolderSource, HubSource, Model
from matrix.errors import EngineCrashed, Infrastructure, NotSupported, WrongInput
from runners import cache, models
from runners.models import Checkpoint
from tests.fake_engine.adapter import ENGINE
from tests.fake_engine.bench import CELL, ENVIRONMENT
from tests.runners.hub_server import COMMIT, FILES, REPO, Hub, serving

pytestmark = pytest.mark.usefixtures("cache_root")

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
WANTED = {name for name in FILES if not name.endswith(".bin")}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A local hub that the real client talks to."""
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def fetch(revision: str = COMMIT, lines: list[str] | None = None) -> Checkpoint:
    model = replace(CELL.model, source=HubSource(repo=REPO, revision=revision))
    return checkpoint(model, lines)


def checkpoint(model: Model, lines: list[str] | None = None) -> Checkpoint:
    say = (lines if lines is not None else []).append
    return models.checkpoint(model, Path("nowhere"), ENVIRONMENT, say)


def test_a_checkpoint_is_fetched_once_and_whole(hub: Hub) -> None:
    """Every wanted file, byte for byte; the digest is the commit; the second time nothing is asked."""
    lines: list[str] = []
    found = fetch(lines=lines)
    assert {name: (found.folder / name).read_bytes() for name in WANTED} == {name: FILES[name] for name in WANTED}
    assert found.digest == COMMIT
    assert found.size == sum(len(FILES[name]) for name in SHARDS)
    assert sorted(hub.fetched) == sorted(WANTED)
    assert "downloaded 2 of 2 MiB" in lines
    hub.status = 500
    assert fetch() == found


def test_a_broken_connection_is_resumed(hub: Hub) -> None:
    """A file cut in the middle goes on from there."""
    hub.cut[SHARDS[0]] = 1
    assert (fetch().folder / SHARDS[0]).read_bytes() == FILES[SHARDS[0]]
    assert hub.fetched.count(SHARDS[0]) == 2


def test_an_interrupted_download_goes_on_with_what_lacks(hub: Hub) -> None:
    """Files that came whole are not fetched again by the next run."""
    found = fetch()
    record = cache.root() / "models" / f"{found.folder.name}.json"
    record.unlink()  # as an interruption leaves it: the files without the record that comes last
    (found.folder / SHARDS[1]).unlink()
    hub.fetched.clear()
    assert (fetch().folder / SHARDS[1]).read_bytes() == FILES[SHARDS[1]]
    assert hub.fetched == [SHARDS[1]]


def test_a_damaged_file_is_fetched_again(hub: Hub) -> None:
    """A wrong byte at the right size is found by the hub's checksum."""
    hub.damaged[SHARDS[1]] = 1
    assert (fetch().folder / SHARDS[1]).read_bytes() == FILES[SHARDS[1]]
    assert hub.fetched.count(SHARDS[1]) == 2
    assert hub.fetched.count(SHARDS[0]) == 1


def test_a_file_that_stays_damaged_is_named(hub: Hub) -> None:
    """It is never served to an engine as if it were the model."""
    hub.damaged["config.json"] = 99
    with pytest.raises(Infrastructure, match=re.escape("came damaged 2 times: config.json")):
        fetch()


def test_half_a_folder_is_no_model_where_the_hub_gives_nothing_more(hub: Hub) -> None:
    """The hub's client would return the folder as it lies; what an interruption left is not the whole."""
    folder = fetch().folder
    (cache.root() / "models" / f"{folder.name}.json").unlink()
    (folder / SHARDS[0]).unlink()
    hub.status, hub.error_code = 404, "RepoNotFound"
    with pytest.raises(Infrastructure, match=f"the hub did not give {REPO} at {COMMIT[:12]}: .*404"):
        fetch()


def test_an_unknown_commit_is_said(hub: Hub) -> None:
    """The hub's own word for it."""
    with pytest.raises(Infrastructure, match=r"the hub did not give .*Revision Not Found"):
        fetch(revision="f" * 40)


def test_a_gated_model_asks_for_its_licence(hub: Hub) -> None:
    """What to do stands in the message."""
    hub.status, hub.error_code = 403, "GatedRepo"
    with pytest.raises(Infrastructure, match="accept its licence there and set HF_TOKEN"):
        fetch()


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """The files that lack are named."""
    model = replace(CELL.model, source=FolderSource(path=str(tmp_path)))
    with pytest.raises(WrongInput, match=r"is no checkpoint: config\.json, tokenizer\.json not found"):
        checkpoint(model)


BREAKS = ("-c", "import enum; enum.Enum('Tensor', 'A').DSPARK_MARKOV_W1")


@pytest.mark.usefixtures("cache_root")
@pytest.mark.parametrize(
    ("foreign", "kind", "said"),
    [
        (None, EngineCrashed, r"^exited with code 1 while converting the checkpoint: AttributeError: .*DSPARK"),
        ("of-others", NotSupported, r"^of-others, which is no part of fake: exited with code 1 while converting"),
    ],
)
def test_a_converter_that_fails_is_the_engines_only_where_it_is_a_part_of_it(
    tmp_path: Path, foreign: str | None, kind: type[Exception], said: str
) -> None:
    """A package of somebody else's says nothing of the engine beside it."""
    engine = replace(ENGINE, convert=lambda asked: BREAKS, foreign_converter=foreign)
    source = Checkpoint(folder=tmp_path, digest="d")
    with pytest.raises(kind, match=said):
        models.own_weights(engine, "m", lambda target: models.convert(Path(sys.executable), BREAKS), source, CELL)
