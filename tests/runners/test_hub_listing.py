"""The Hub's listings and files, by its real client against a local server: bounded, patient, and trusting nothing."""

from __future__ import annotations

import datetime as dt
import json
import struct
import time
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import huggingface_hub
import pytest

from matrix import discover
from matrix.discover import NotUnderstood
from matrix.errors import Infrastructure
from runners import hub_listing
from tests.runners.hub_server import Hub, Repo, serving

SINCE = dt.date(2026, 11, 1)
CONFIG = {"architectures": ["NewForCausalLM"], "torch_dtype": "bfloat16", "max_position_embeddings": 4096}
AT_ONCE = {"Retry-After": "0"}


def header(*tensors: tuple[str, list[Any]]) -> bytes:
    """The beginning of a safetensors file."""
    described = {f"t{i}": {"dtype": d, "shape": s, "data_offsets": [0, 0]} for i, (d, s) in enumerate(tensors)}
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text


def repo(name: str = "google/new-1b", **more: Any) -> Repo:
    """A model of six parameters."""
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": header(("BF16", [2, 3])) + b"weights"}
    return Repo(name=name, files={**files, **more.pop("files", {})}, **more)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A local hub that the real client talks to."""
    with serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


@pytest.fixture
def hub(server: Hub) -> Iterator[hub_listing.Hub]:
    with hub_listing.asking() as found:
        yield found


def test_a_listing_is_read_page_by_page_as_far_back_as_is_asked(server: Hub, hub: hub_listing.Hub) -> None:
    """The newest first; pages beyond the day, or beyond as many as are wanted, are never asked for."""
    for day in range(20, 30):
        server.add(repo(f"google/new-{day}", created=f"2026-11-{day}T08:00:00.000Z"))
    server.add(repo("nobody/other"))
    found = hub.by("google", dt.date(2026, 11, 27), 500)
    assert [one.name for one in found] == ["google/new-29", "google/new-28", "google/new-27"]
    assert [path.partition("?")[0] for path in server.asked] == ["/api/models", "/api/models"]
    assert "author=google&sort=createdAt&limit=500&expand=createdAt" in server.asked[0]
    assert "cardData" not in server.asked[0]
    assert len(hub.by("google", SINCE, 5)) == 5
    assert len(hub.trending(100)) == 11


def test_a_repository_is_what_the_hub_and_its_files_say(server: Hub, hub: hub_listing.Hub) -> None:
    """Commit, day, sizes, its config, and the parameters of the header of its weights, asked by range."""
    listed = repo(tags=("license:other",), gated="auto", card={"license_name": "new-licence"})
    server.add(listed)
    found = hub.checkpoint(hub.by("google", SINCE, 500)[0])
    assert found.repository == discover.Repository(
        name="google/new-1b", revision=listed.commit, created=dt.datetime(2026, 11, 20, 8, tzinfo=dt.UTC), gated=True,
        task="text-generation", tags=("license:other", "safetensors"), files=("config.json", "model.safetensors"),
        elements={"BF16": 6},
    )  # fmt: skip
    assert (found.config, found.licence) == (CONFIG, "new-licence")
    assert found.size == len(listed.files["model.safetensors"])
    assert server.asked[-2:] == [
        f"/google/new-1b/resolve/{listed.commit}/config.json bytes=0-1048576",
        f"/google/new-1b/resolve/{listed.commit}/model.safetensors bytes=0-100000",
    ]


def test_what_the_hub_has_counted_is_not_counted_again(server: Hub, hub: hub_listing.Hub) -> None:
    """A large model has a hundred files with a header each."""
    server.add(repo(elements={"BF16": 7_000_000_000}))
    assert hub.checkpoint(hub.trending(1)[0]).repository.elements == {"BF16": 7_000_000_000}
    assert not [path for path in server.asked if ".safetensors" in path]


def test_headers_of_all_shards_are_added_and_a_long_one_is_asked_for_whole(server: Hub, hub: hub_listing.Hub) -> None:
    """By a second range."""
    long = header(*[("F32", [10])] * 3_000)
    assert len(long) > 100_000
    shards = {"model-00001-of-00002.safetensors": long, "model-00002-of-00002.safetensors": header(("BF16", [5]))}
    listed = repo()
    listed.files = {"config.json": listed.files["config.json"], **shards}
    server.add(listed)
    assert hub.checkpoint(hub.trending(1)[0]).repository.elements == {"F32": 30_000, "BF16": 5}
    assert [path.rpartition(" ")[2] for path in server.asked[-3:]] == [
        "bytes=0-100000", f"bytes=8-{len(long) - 1}", "bytes=0-100000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"nope",
        header(("BF16", ["a"])),
        header(("BF16", [2])).replace(b'"dtype"', b'"dtypo"'),
        struct.pack("<Q", 20_000) + b"[" * 20_000,
    ],
)
def test_a_header_that_cannot_be_read_leaves_the_parameters_unknown(
    server: Hub, hub: hub_listing.Hub, content: bytes
) -> None:
    """The model is a find all the same."""
    server.add(repo(files={"model.safetensors": content}))
    found = hub.checkpoint(hub.trending(1)[0])
    assert (found.repository.elements, found.config) == ({}, CONFIG)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"[" + b"1," * 25_000_000 + b"1]", "config.json has more than 1048576 bytes"),
        (b"{", "config.json is not JSON, or is nested too deep"),
        (b"\xff\xfe\x00", "config.json is not JSON, or is nested too deep"),
        (b'{"a":' * 100_000, "config.json is not JSON, or is nested too deep"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "config.json is not JSON, or is nested too deep"),
        (b"[]", "config.json holds list, and not an object"),
    ],
)
def test_a_config_is_read_up_to_a_limit_and_never_believed(
    server: Hub, hub: hub_listing.Hub, config: bytes, reason: str
) -> None:
    """50 MB, no JSON, a tower of brackets: each is a reason, and no more."""
    server.add(repo(files={"config.json": config}))
    with pytest.raises(NotUnderstood, match=reason):
        hub.checkpoint(hub.trending(1)[0])


def test_a_repository_without_a_config_is_no_find(server: Hub, hub: hub_listing.Hub) -> None:
    """It may have gone since it was listed, too."""
    server.add(repo())
    (listed,) = hub.trending(1)
    del server.repos["google/new-1b"].files["config.json"]
    with pytest.raises(NotUnderstood, match=r"is gone, or has no config\.json"):
        hub.checkpoint(listed)
    server.repos.clear()
    with pytest.raises(NotUnderstood, match=r"is gone, or has no config\.json"):
        hub.checkpoint(listed)


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_gated_is_said_to_be(server: Hub, hub: hub_listing.Hub, status: int) -> None:
    """Its listing is for everybody, its files are not; nothing is asked again."""
    server.add(repo(gated="manual"))
    (listed,) = hub.trending(1)
    assert listed.gated
    server.refusals["/google/new-1b/resolve"] = [(status, {"X-Error-Code": "GatedRepo"})]
    with pytest.raises(NotUnderstood, match="gated, and this token may not read it"):
        hub.checkpoint(listed)
    assert len([path for path in server.asked if "resolve" in path]) == 1


@pytest.mark.parametrize("card", [{"ignore_metadata_errors": True}, {"self": 1}])
def test_no_card_ends_a_listing(server: Hub, hub: hub_listing.Hub, card: dict[str, Any]) -> None:
    """The client takes some of a card's keys for its own parameters; only that model suffers from it."""
    server.add(repo(card=card), repo("google/other", card={"license_name": ["a", {}]}))
    listed = {one.name: one for one in hub.by("google", SINCE, 500)}
    assert sorted(listed) == ["google/new-1b", "google/other"]
    with pytest.raises(NotUnderstood, match="what the Hub says of it has no form that is known"):
        hub.checkpoint(listed["google/new-1b"])
    assert hub.checkpoint(listed["google/other"]).licence is None


def test_facts_of_an_unknown_form_spoil_one_repository(server: Hub, hub: hub_listing.Hub) -> None:
    """The others of its listing are read."""
    server.add(repo(task={"a": 1}), repo("google/other"))
    listed = {one.name: one for one in hub.by("google", SINCE, 500)}
    assert listed["google/other"].revision is not None
    assert listed["google/new-1b"] == discover.Repository(name="google/new-1b")


def test_a_renamed_repository_is_known_by_its_new_name(server: Hub, hub: hub_listing.Hub) -> None:
    """The Hub leads from the old one there, for facts and files alike."""
    server.add(repo())
    server.renamed["google/old-1b"] = "google/new-1b"
    assert hub.name_now("google/old-1b") == "google/new-1b"
    assert hub.checkpoint(discover.Repository(name="google/old-1b")).repository.name == "google/new-1b"
    assert hub.name_now("google/never-was") is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_asks_to_wait_is_asked_again(server: Hub, hub: hub_listing.Hub, status: int) -> None:
    """As soon as it says, in any of three ways."""
    server.add(repo())
    now = format_datetime(dt.datetime.now(dt.UTC), usegmt=True)
    server.refusals["/api/models"] = [
        (status, AT_ONCE),
        (status, {"Retry-After": now}),
        (status, {"RateLimit": '"api";r=0;t=0'}),
    ]
    assert [one.name for one in hub.trending(1)] == ["google/new-1b"]
    assert len(server.asked) == 4


def test_a_server_that_says_how_long_is_not_asked_before(server: Hub, hub: hub_listing.Hub) -> None:
    """A second is a second."""
    server.add(repo())
    server.refusals["/google/new-1b"] = [(429, {"Retry-After": "1"})]
    started = time.monotonic()
    assert hub.checkpoint(hub.trending(1)[0]).config == CONFIG
    assert time.monotonic() - started >= 1


def test_a_server_that_goes_on_refusing_is_left_alone(server: Hub, hub: hub_listing.Hub) -> None:
    """After four tries; one that wants more than a minute is not asked again at all."""
    server.refusals["/api/models"] = [(503, AT_ONCE)] * 9
    with pytest.raises(Infrastructure, match="the Hub did not give the models of google: status 503, asked 4 times"):
        hub.by("google", SINCE, 500)
    assert len(server.asked) == 4
    server.refusals["/api/models"] = [(429, {"Retry-After": "3600"})]
    with pytest.raises(Infrastructure, match=r"the Hub did not give what is trending: status 429, asked 1 time$"):
        hub.trending(1)


def test_a_refused_file_is_no_fault_of_the_model(server: Hub, hub: hub_listing.Hub) -> None:
    """It is asked for another time."""
    server.add(repo())
    (listed,) = hub.trending(1)
    server.refusals["/google/new-1b/resolve"] = [(502, AT_ONCE)] * 4
    with pytest.raises(Infrastructure, match="the Hub did not give google/new-1b: status 502, asked 4 times"):
        hub.checkpoint(listed)


def test_patience_ends(server: Hub, hub: hub_listing.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """All waiting together has a bound; then each question is asked once."""
    monkeypatch.setattr(hub_listing, "PATIENCE_S", 1.0)
    huggingface_hub.set_client_factory(hub_listing._Client)
    server.refusals["/api/models"] = [(429, {"Retry-After": "1"})] * 9
    with pytest.raises(Infrastructure, match="asked 2 times"):
        hub.trending(1)
    with pytest.raises(Infrastructure, match=r"asked 1 time$"):
        hub.trending(1)


def test_an_answer_without_an_end_is_not_read_to_it(
    server: Hub, hub: hub_listing.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that long is nobody's."""
    server.add(repo(tags=("x" * 100_000,)))
    monkeypatch.setattr(hub_listing, "ANSWER_BYTES", 50_000)
    with pytest.raises(Infrastructure, match="the answer has more than 50000 bytes"):
        hub.trending(1)


def test_a_hub_that_is_not_there_is_said(hub: hub_listing.Hub, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the client is as it was before, once the block ends."""
    server.server_close()
    server.shutdown()
    monkeypatch.setattr(hub_listing, "LONGEST_WAIT_S", 0.5)
    with pytest.raises(Infrastructure, match=r"the Hub did not give what is trending: .*refused, asked 1 time"):
        hub.trending(1)


def test_the_client_of_others_is_theirs_again() -> None:
    """Downloads wait longer, and are longer."""
    before = type(huggingface_hub.get_session())
    with hub_listing.asking():
        assert type(huggingface_hub.get_session()) is hub_listing._Client
    assert type(huggingface_hub.get_session()) is before
