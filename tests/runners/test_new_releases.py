"""Releases that the tables lack: by an index and a daemon on loopback, through their real clients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from matrix import load
from matrix.cells import Image, Release
from matrix.discover import NewRelease
from matrix.errors import Infrastructure, WrongInput
from matrix.load import Matrix
from matrix.watch import Nightly
from probes import tables as own_tables
from runners import daemon, forecast, new_releases
from runners.claims import Registry
from runners.new_releases import Digest
from runners.registry import engines
from tests.matrix import tables
from tests.runners import registry_server
from tests.runners.test_releases import file, index

OLD, NEW, TONIGHT = (f"sha256:{letter * 64}" for letter in "abc")
TODAY = dt.date(2026, 11, 30)
NIGHTLY = Nightly(engine="fake", tag="fake/engine:nightly", device_kinds=("cuda",))


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    """A fake engine at 0.0.1, installed as alpha, with an official image."""
    folder = tables.write(tmp_path / "matrix")
    (folder / "fake.in").write_text("alpha==0.0.1\n")
    found = load.load(folder, engines=tables.ENGINES, probes=tables.PROBES)
    image = Image(tag="fake/engine:v0.0.1", digest=OLD, device_kinds=("cuda",), user="1:1")
    release = msgspec.structs.replace(found.releases["fake-0.0.1"], image=image, cap_add=("SYS_NICE",))
    return msgspec.structs.replace(found, releases={release.id: release})


@pytest.fixture
def digest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Digest]:
    """What a registry says: of 0.0.2, of tonight, and nothing of 0.0.3."""
    known = {"fake/engine:v0.0.2": NEW, "fake/engine:nightly": TONIGHT, "fake/engine:v0.0.4": registry_server.REFUSED}
    with registry_server.daemon(known) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        with daemon.connected() as client:
            yield new_releases.digests(client)


def newest(monkeypatch: pytest.MonkeyPatch, matrix: Matrix, digest: Digest | None, *versions: str) -> object:
    with index([file(version, "2026-11-20") for version in versions]) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        return new_releases.of_engine(matrix, "fake", digest)


def test_an_image_of_a_new_release_is_in_by_its_digest(
    monkeypatch: pytest.MonkeyPatch, matrix: Matrix, digest: Digest
) -> None:
    """It loads without a lock, on the devices that it is for; how a lock is made is said."""
    found = newest(monkeypatch, matrix, digest, "0.0.1", "0.0.2", "0.1rc1")
    assert isinstance(found, NewRelease)
    assert found.entry == Release(
        engine="fake", version="0.0.2", channel="stable", build="official", released=dt.date(2026, 11, 20),
        device_kinds=(), cap_add=("SYS_NICE",),
        image=Image(tag="fake/engine:v0.0.2", digest=NEW, device_kinds=("cuda",), user="1:1"),
    )  # fmt: skip
    assert found.said == (
        "It needs a lock: copy requirements/fake-0.0.1.in to requirements/fake-0.0.2.in with 0.0.2 in it, and run "
        "`python -m runners.lock fake-0.0.2`.",
        "Its image fake/engine:v0.0.2 is in, by its digest.",
    )


def test_without_a_tag_or_a_daemon_a_release_is_only_told(
    monkeypatch: pytest.MonkeyPatch, matrix: Matrix, digest: Digest
) -> None:
    """No digest is invented."""
    for asked, version, said in (
        (digest, "0.0.3", "The registry has no fake/engine:v0.0.3 yet."),
        (None, "0.0.2", "No Docker daemon was there to ask for the digest of fake/engine:v0.0.2."),
    ):
        found = newest(monkeypatch, matrix, asked, "0.0.1", version)
        assert isinstance(found, NewRelease)
        assert (found.version, found.entry, found.said[-1]) == (version, None, said)
    with pytest.raises(Infrastructure, match=r"the registry gives no digest of fake/engine:v0\.0\.4: toomanyrequests"):
        newest(monkeypatch, matrix, digest, "0.0.4")


def test_what_the_tables_have_is_not_new(monkeypatch: pytest.MonkeyPatch, matrix: Matrix, digest: Digest) -> None:
    """Nor is something older; an image that is in already is not in twice, and its lock is asked for again."""
    assert newest(monkeypatch, matrix, digest, "0.0.1", "0.0.0") is None
    first = newest(monkeypatch, matrix, digest, "0.0.2")
    assert isinstance(first, NewRelease) and first.entry is not None
    both = msgspec.structs.replace(matrix, releases={**matrix.releases, first.entry.id: first.entry})
    again = newest(monkeypatch, both, digest, "0.0.2")
    assert isinstance(again, NewRelease)
    assert (again.entry, len(again.said)) == (None, 1)


def test_a_rebuild_that_is_not_there_yet_is_waited_for(matrix: Matrix) -> None:
    """The engine's own releases count, of a package that has 2.0.0; of what is installed in its place there is none."""
    release = msgspec.structs.replace(matrix.releases["fake-0.0.1"], dated_by="iniconfig")
    (matrix.folder / "fake.in").write_text("wheel==0.0.1\n")
    found = new_releases.of_engine(msgspec.structs.replace(matrix, releases={release.id: release}), "fake", None)
    assert found is not None
    assert found.said[0] == (
        f"It needs a lock, and wheel, which is installed in its place, has no {found.version} yet."
    )


def test_what_the_index_calls_an_engine_must_be_written_down(matrix: Matrix) -> None:
    """An engine without a lock of its own has no past that could be asked for."""
    (matrix.folder / "fake.in").unlink()
    with pytest.raises(WrongInput, match=r"no file fake\.in beside the lock"):
        new_releases.of_engine(matrix, "fake", None)
    bare = msgspec.structs.replace(matrix.releases["fake-0.0.1"], requirements=None)
    assert new_releases.of_engine(msgspec.structs.replace(matrix, releases={bare.id: bare}), "fake", None) is None


def test_a_nightly_image_is_known_by_its_digest(matrix: Matrix, digest: Digest) -> None:
    """The day is in its version; the same digest is nothing new; a tag that is gone is nothing."""
    found = new_releases.of_tag(matrix, NIGHTLY, digest, TODAY)
    assert found is not None and found.entry is not None
    assert (found.entry.id, found.entry.channel) == ("fake-nightly-20261130", "nightly")
    assert found.entry.image == Image(tag="fake/engine:nightly", digest=TONIGHT, device_kinds=("cuda",))
    both = msgspec.structs.replace(matrix, releases={**matrix.releases, found.entry.id: found.entry})
    assert new_releases.of_tag(both, NIGHTLY, digest, TODAY) is None
    assert new_releases.of_tag(matrix, msgspec.structs.replace(NIGHTLY, tag="fake/engine:no"), digest, TODAY) is None


def test_a_forecast_says_what_is_not_known(matrix: Matrix, cache_root: Path) -> None:
    """A release without an environment here has no registry that could be read; none is made for it."""
    newest = forecast.newest(matrix)
    assert [release.id for release in newest] == ["fake-0.0.1"]
    assert forecast.registries(newest, {}) == {"fake-0.0.1": "no environment here"}
    assert forecast.foretold("no environment here", "NewForCausalLM", "new") == "unknown: no environment here"
    assert not (cache_root / "environments").exists()
    registry = Registry(by="architecture", native=("OneForCausalLM",), fallback=("ItsForCausalLM",))
    said = [forecast.foretold(registry, f"{name}ForCausalLM", "") for name in ("One", "Its", "New")]
    assert said == ["knows it", "by transformers' classes", "does not know it"]


@pytest.mark.engine
@pytest.mark.usefixtures("llama_cpp_python_environment")
def test_a_release_that_is_installed_tells_its_classes() -> None:
    """As its own registry names them; no engine is started for it."""
    release = own_tables.matrix().releases["llama-cpp-python-0.3.36"]
    registry = forecast.registries([release], engines())[release.id]
    assert forecast.foretold(registry, "SmolLM3ForCausalLM", "smollm3") == "knows it"
    assert forecast.foretold(registry, "RwkvForCausalLM", "rwkv") == "does not know it"
