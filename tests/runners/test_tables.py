"""Additions to tables: everything that stood there stays as it was."""

from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.cells import HubSource, Image, Model, Release
from matrix.discover import Find
from matrix.errors import WrongInput
from matrix.load import PACKAGED
from matrix.load import load as load_tables
from runners import tables
from tests.matrix import tables as small

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = Model(
    id="new-1b", source=HubSource(repo="google/new-1b", revision=COMMIT), architecture="NewForCausalLM",
    dtype="bfloat16", context_length=4096, parameters_total=1_234_567_890, kinds=("dense", "mla"), text_only=True,
    released=dt.date(2026, 11, 20), licence="Apache-2.0", organisation="Google", country="US",
)  # fmt: skip
NIGHTLY = Release(
    engine="vllm", version="nightly-20261130", channel="nightly", build="official", released=dt.date(2026, 11, 30),
    build_note="What the tag nightly was on 2026-11-30.", device_kinds=(),
    image=Image(tag="vllm/vllm-openai:nightly", digest=f"sha256:{'a' * 64}", device_kinds=("cuda",)),
)  # fmt: skip


def find(model: Model = MODEL, *, gated: bool = False) -> Find:
    return Find(model=model, gated=gated, watched=True, new_class=True, size=None)


def read_models(text: str) -> list[Model]:
    return [msgspec.convert(one, Model) for one in tomllib.loads(text)["model"]]


def test_models_come_behind_what_is_there_byte_for_byte() -> None:
    """The packaged table with its comments is the beginning of the new one; what follows is read as it was meant."""
    before = tables.read(PACKAGED / tables.MODELS)
    after = tables.with_finds(before, [find(), find(msgspec.structs.replace(MODEL, id="other"))])
    assert after.startswith(before)
    assert [model.id for model in read_models(after)][-2:] == ["new-1b", "other"]
    assert read_models(after)[-2] == MODEL
    assert after[len(before) :].partition("[[model]]\n")[2].partition("\n\n[[model]]")[0] == (
        'id = "new-1b"\narchitecture = "NewForCausalLM"\ndtype = "bfloat16"\ncontext_length = 4096\n'
        'parameters_total = 1_234_567_890\nkinds = ["dense", "mla"]\ntext_only = true\nreleased = 2026-11-20\n'
        'licence = "Apache-2.0"\norganisation = "Google"\ncountry = "US"\n\n'
        f'[model.source]\nfrom = "hub"\nrepo = "google/new-1b"\nrevision = "{COMMIT}"'
    )


def test_nothing_found_changes_nothing() -> None:
    """Not a byte."""
    for name in (tables.MODELS, tables.ENGINES):
        before = tables.read(PACKAGED / name)
        assert (tables.with_finds if name == tables.MODELS else tables.with_releases)(before, []) == before


def test_a_gated_model_is_not_published() -> None:
    """Until somebody takes the key away."""
    (entry,) = tomllib.loads(tables.with_finds("", [find(gated=True)]))["model"]
    assert entry["unpublished"] is True
    assert "unpublished" not in tables.with_finds("", [find()])


@pytest.mark.parametrize("text", ["", "# alone", "a = 1\r\n\r\n# windows\r\n", "# no end\nmodels = 3"])
def test_line_ends_stay_as_they_are(text: str) -> None:
    """A file without a last one gets it."""
    after = tables.with_finds(text, [find()])
    assert after.startswith(text)
    assert msgspec.convert(tomllib.loads(after)["model"][0], Model) == MODEL
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in text


@settings(max_examples=50)
@given(st.text(max_size=40), st.text(max_size=40), st.integers(min_value=0, max_value=2**62))
def test_whatever_a_text_holds_it_is_read_back(note: str, organisation: str, parameters: int) -> None:
    """Quotes, line ends, brackets: a value of the table, and nothing else."""
    model = msgspec.structs.replace(MODEL, note=note, organisation=organisation or None, parameters_total=parameters)
    assert read_models(tables.with_finds("# first\n", [find(model)])) == [model]


def test_a_release_comes_last_and_a_nightly_one_takes_the_place_of_the_last() -> None:
    """Where it stood, with the comments around it; only what has changed is another."""
    before = tables.read(PACKAGED / tables.ENGINES)
    first = tables.with_releases(before, [NIGHTLY])
    assert first.startswith(before)
    assert "build_env" not in first[len(before) :]  # empty, as it is where nothing is said
    commented = first.replace('channel = "nightly"', 'channel = "nightly" # moves') + "\n# the end\n"
    image = msgspec.structs.replace(NIGHTLY.image, digest=f"sha256:{'b' * 64}")  # type: ignore[type-var] # it has one
    tomorrow = msgspec.structs.replace(NIGHTLY, version="nightly-20261201", image=image)
    second = tables.with_releases(commented, [tomorrow])
    changed = {(old, new) for old, new in zip(commented.splitlines(), second.splitlines(), strict=True) if old != new}
    assert changed == {
        ('version = "nightly-20261130"', 'version = "nightly-20261201"'),
        (f'digest = "sha256:{"a" * 64}"', f'digest = "sha256:{"b" * 64}"'),
    }
    releases = [msgspec.convert(one, Release) for one in tomllib.loads(second)["release"]]
    assert releases[-1] == tomorrow


def check(folder: Path) -> object:
    return load_tables(folder, engines=small.ENGINES, probes=small.PROBES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small.write(tmp_path / "matrix")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tables_are_written_where_they_load(folder: Path) -> None:
    """And nothing else in the folder is another; a dry run writes nothing."""
    before = contents(folder)
    text = tables.with_finds(tables.read(folder / tables.MODELS), [find()])
    tables.write(folder, {tables.MODELS: text}, check, dry_run=True)
    assert contents(folder) == before
    tables.write(folder, {tables.MODELS: text}, check)
    assert contents(folder) == {**before, tables.MODELS: text.encode()}


@pytest.mark.parametrize("model", [msgspec.structs.replace(MODEL, id="small"), msgspec.structs.replace(MODEL, id="A")])
def test_tables_that_would_not_load_are_not_written(folder: Path, model: Model) -> None:
    """Neither of two, where one of them is wrong."""
    before = contents(folder)
    engines = tables.with_releases(tables.read(folder / tables.ENGINES), [NIGHTLY])
    models = tables.with_finds(tables.read(folder / tables.MODELS), [find(model)])
    with pytest.raises(WrongInput, match=r"models\.toml"):
        tables.write(folder, {tables.ENGINES: engines, tables.MODELS: models}, check)
    assert contents(folder) == before


def test_the_difference_is_that_of_diff() -> None:
    """For a reader, before anything is written."""
    said: Any = tables.difference("models.toml", "a\nb\n", "a\nb\nc\n")
    assert said == "--- models.toml\n+++ models.toml\n@@ -1,2 +1,3 @@\n a\n b\n+c\n"
