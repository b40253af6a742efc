"""Models and references that travel from the job that fetches to those that run engines."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from matrix.errors import Infrastructure
from runners import cache, parcels

USED = [("models", "open-1"), ("references", "corpus-1"), ("models", "closed-1"), ("environments", "engine-1")]


def make(kind: str, key: str, content: bytes = b"weights") -> Path:
    def build(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_bytes(content)

    return cache.ensure(kind, key, build, label=f"label of {key}")


@pytest.fixture
def packed(cache_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two parcels, and an empty cache on the machine that takes them over."""
    make("models", "open-1")
    make("references", "corpus-1", b"logprobs")
    make("models", "closed-1")
    make("environments", "engine-1")
    said = parcels.pack(tmp_path / "parcels", USED, private=["closed-1"])
    assert "not packed: label of closed-1: its licence does not say that it may be passed on" in said
    monkeypatch.setenv("READINESS_CACHE", str(tmp_path / "elsewhere"))
    return tmp_path / "parcels"


def test_models_and_references_travel_and_nothing_private_does(packed: Path) -> None:
    """They are ready on the other machine, and are not made again."""
    assert sorted(path.name for path in packed.iterdir()) == ["models__open-1.tar", "references__corpus-1.tar"]
    assert parcels.unpack(packed) == ["label of open-1", "label of corpus-1"]

    def never(folder: Path) -> None:
        raise AssertionError("it is there")

    folder = cache.ensure("models", "open-1", never, label="")
    assert (folder / "sub" / "file").read_bytes() == b"weights"


def test_what_was_not_used_is_not_packed(cache_root: Path, tmp_path: Path) -> None:
    """A machine that keeps its cache packs tonight's models only."""
    make("models", "open-1")
    make("models", "older-1")
    assert parcels.pack(tmp_path / "parcels", [("models", "open-1")]) == ["packed: label of open-1, 0 MiB"]


def test_what_is_too_large_is_not_packed_and_said_so(
    cache_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage is shared, or the model is downloaded again."""
    monkeypatch.setattr(parcels, "MOST_BYTES", 3)
    make("models", "open-1")
    assert parcels.pack(tmp_path / "parcels", USED) == ["not packed: label of open-1: 0 MiB are more than 0 MiB"]


def test_a_damaged_parcel_is_refused(packed: Path) -> None:
    """A wrong byte in a weight is no engine's fault, so it must not get that far."""
    parcel = packed / "models__open-1.tar"
    parcel.write_bytes(parcel.read_bytes().replace(b"weights", b"wEights"))
    with pytest.raises(Infrastructure, match="label of open-1: sub/file came damaged"):
        parcels.unpack(packed)


def test_half_a_parcel_is_refused(packed: Path) -> None:
    """A transfer that broke off."""
    parcel = packed / "models__open-1.tar"
    parcel.write_bytes(parcel.read_bytes()[:700])
    with pytest.raises(Infrastructure, match=r"models__open-1.tar is damaged"):
        parcels.unpack(packed)


def test_a_parcel_that_is_not_what_its_name_says_is_refused(packed: Path) -> None:
    """Neither another entry nor another kind."""
    (packed / "models__open-1.tar").rename(packed / "models__other.tar")
    with pytest.raises(Infrastructure, match=r"models__other.tar holds models open-1"):
        parcels.unpack(packed)


def test_a_parcel_cannot_write_outside_its_entry(packed: Path, tmp_path: Path) -> None:
    """A name that climbs out is refused by tarfile's own filter."""
    parcel = packed / "models__open-1.tar"
    with tarfile.open(parcel, "a") as archive:
        archive.add(__file__, "entry/../../../climbed")
    with pytest.raises(Infrastructure, match=r"models__open-1.tar is damaged"):
        parcels.unpack(packed)
    assert not (tmp_path / "elsewhere" / "climbed").exists()
