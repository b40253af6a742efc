"""`readiness discover` as whole processes, against a hub, an index and a registry of our own."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runners import registry_server
from tests.runners.hub_server import Hub, Repo, serving
from tests.runners.test_hub_listing import header
from tests.runners.test_releases import file, index

WATCH = """
released_within_days = 36500
listed = 50
trending = 50

[[account]]
name = "google"
organisation = "Google"
country = "US"

[[account]]
name = "openai"
organisation = "OpenAI"
country = "US"

[[nightly]]
engine = "fake"
tag = "fake/engine:nightly"
device_kinds = ["cuda"]
"""
CONFIG: dict[str, Any] = {
    "architectures": ["NewestForCausalLM"],
    "model_type": "newest",
    "dtype": "bfloat16",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "vocab_size": 100_000,
}
TONIGHT, NEW = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
IMAGE = '[release.image]\ntag = "fake/engine:v0.0.1"\ndevice_kinds = ["cuda"]\n'


def repo(name: str = "google/new-1b", config: object = CONFIG, **more: Any) -> Repo:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return Repo(name=name, files={"config.json": text, "model.safetensors": header(("BF16", [2, 3]))}, **more)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


@pytest.fixture
def folder(tables: Path) -> Path:
    """Tables with comments, and a watch list of their own."""
    (tables / "watch.toml").write_text(WATCH)
    with (tables / "models.toml").open("a") as file:
        file.write("\n# The last line is a comment.\n")
    return tables


class Discover:
    """The command, with what it asks."""

    def __init__(self, environment: dict[str, str], hub: Hub, folder: Path) -> None:
        nowhere = {"DOCKER_HOST": "unix:///nowhere", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
        empty = {"READINESS_CACHE": str(folder.parent / "cache")}  # of environments that others have built
        self.environment = {**environment, "HF_ENDPOINT": hub.url, **nowhere, **empty}
        self.folder = folder
        self.body = folder.parent / "body.md"
        self.said = ""

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """The text of the pull request."""
        command = [sys.executable, "-m", "readiness", "discover", "--matrix", str(self.folder)]
        command += ["--body", str(self.body), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=180)
        self.said = done.stdout + done.stderr
        assert done.returncode == status, self.said
        return self.body.read_text()

    def models(self) -> list[dict[str, Any]]:
        """Those that were added."""
        found: list[dict[str, Any]] = tomllib.loads((self.folder / "models.toml").read_text())["model"]
        return found[1:]


@pytest.fixture
def discover(environment: dict[str, str], hub: Hub, folder: Path) -> Discover:
    return Discover(environment, hub, folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_model_is_added_and_found_once(hub: Hub, discover: Discover, folder: Path, tmp_path: Path) -> None:
    """With what is known of it and a recipe; all else in the folder stays, and a second look adds nothing."""
    hub.add(repo(tags=("license:mit",)), repo("google/new-1b-it", tags=("base_model:finetune:google/new-1b",)))
    before = contents(folder)
    body = discover("--recipes", str(tmp_path / "recipes"))
    assert discover.models()[0] == {
        "id": "new-1b", "architecture": "NewestForCausalLM", "dtype": "bfloat16", "context_length": 4096,
        "parameters_total": 6, "parameters_active": 6, "kinds": ["dense"], "licence": "MIT", "organisation": "Google",
        "country": "US", "released": discover.models()[0]["released"],
        "source": {"from": "hub", "repo": "google/new-1b", "revision": hub.repos["google/new-1b"].commit},
    }  # fmt: skip
    assert [model["id"] for model in discover.models()] == ["new-1b", "new-1b-it"]
    after = contents(folder)
    assert after["models.toml"].startswith(before["models.toml"])
    assert {**after, "models.toml": b""} == {**before, "models.toml": b""}
    (recipe,) = (tmp_path / "recipes").iterdir()
    made = tomllib.loads(recipe.read_text())
    assert (recipe.name, made["published"]) == ("new-1b.toml", "google/new-1b")
    assert (made["config"]["hidden_size"], made["config"]["vocab_size"]) == (256, 128)
    assert (
        "- `new-1b`: released by a watched account; the first of its class here; its tiny recipe is `new-1b`." in body
    )
    assert (
        "- `new-1b-it`: released by a watched account; one more of a class that is here; its tiny recipe would be"
        in body
    )
    assert "| `new-1b` | unknown: no environment here |" in body
    second = discover()
    assert contents(folder) == after
    assert body.startswith("2 new models\n\nFound by `readiness discover` on ")
    assert second.startswith("Nothing new\n\nFound by `readiness discover` on ") and "No new model." in second
    assert "- 2: in models.toml already: `google/new-1b`, `google/new-1b-it`" in second


def test_a_model_that_was_renamed_is_not_found_again(hub: Hub, discover: Discover, folder: Path) -> None:
    """The Hub leads from the name in the table to the one in its listing."""
    hub.add(repo("openai/old-1b"))
    discover()
    after = contents(folder)
    hub.repos.clear()
    hub.add(repo("openai/renamed-1b"))
    hub.renamed["openai/old-1b"] = "openai/renamed-1b"
    assert "- 1: in models.toml already: `openai/renamed-1b`" in discover()
    assert contents(folder) == after


def test_what_trends_is_found_and_what_others_made_of_models_is_not(hub: Hub, discover: Discover) -> None:
    """Each with its reason; a private one that the token sees is counted, and its name is nowhere."""
    hub.add(
        repo("lab/first"),
        repo("someone/tuned", tags=("base_model:finetune:google/new-1b",)),
        repo("someone/new-1b-gguf", tags=("base_model:quantized:google/new-1b",)),
        repo("someone/awq", {**CONFIG, "quantization_config": {"quant_method": "awq"}}),
        repo("google/secret", private=True),
        repo("google/speech", task="automatic-speech-recognition"),
    )
    body = discover()
    (model,) = discover.models()
    assert (model["id"], model["organisation"], "country" in model) == ("first", "lab", False)
    assert "- `first`: trending; the first of its class here" in body
    for line in (
        "- 1: a fine-tune of somebody else's model: `someone/tuned`",
        "- 1: a quantization: `someone/new-1b-gguf`",
        "- 1: its weights are quantized, and nobody who is watched has released them so: `someone/awq`",
        "- 1: is made for another task than writing text: `google/speech`",
        "- 1: private: only somebody who may see it can name it\n",
    ):
        assert line in body
    assert "secret" not in body + discover.said + (discover.folder / "models.toml").read_text()


def test_a_gated_model_is_added_unpublished_and_one_that_may_not_be_read_is_said(hub: Hub, discover: Discover) -> None:
    """What its config says makes no recipe for everybody."""
    hub.add(repo("google/gated", gated="auto"), repo("google/closed", gated="manual", closed=True))
    body = discover("--recipes", str(discover.body.parent / "recipes"))
    (model,) = discover.models()
    assert (model["id"], model["unpublished"]) == ("gated", True)
    assert "gated on the Hub, so its entry says `unpublished = true` until somebody takes that away" in body
    assert "no tiny recipe: its config.json is not for everybody to read" in body
    assert not (discover.body.parent / "recipes").exists()
    assert (
        "- 1: gated, and this token may not read it: accept its licence on the Hub and set HF_TOKEN: `google/closed`"
        in body
    )


HOSTILE = "google/x`\n\n[[model]]\n| @everyone <img src=x> ![a](b) ../../etc"


def test_whatever_strangers_write_spoils_their_own_alone(hub: Hub, discover: Discover) -> None:
    """A name with Markdown and TOML in it, 50 MB, no JSON, 10^9 layers: reasons, and the good one is found."""
    hub.add(
        repo(HOSTILE),
        repo("google/long", b"[" + b"1," * 25_000_000 + b"1]"),
        repo("google/nojson", b"<html>"),
        repo("google/endless", {**CONFIG, "num_hidden_layers": 10**9}),
        repo("google/words", {**CONFIG, "layer_types": 3}),
        repo("google/odd", {**CONFIG, "a.b": {"c.d": None}, 'key"\n[x]': "\x00", "model_type": ["x"]}),
        repo("google/card", card={"ignore_metadata_errors": True}),
        repo("google/good", {**CONFIG, "layer_types": ["full_attention"] * 24}),
    )
    body = discover("--recipes", str(discover.body.parent / "recipes"))
    assert {model["id"] for model in discover.models()} == {"good", "odd"}
    assert "its tiny recipe is `good`" in body
    assert "- `odd`: released by a watched account; " in body
    assert "no tiny recipe: its config.json cannot be shrunk (" in body
    for line in (
        "- 1: its name is none that the Hub gives: ``google/x` [[model]] \\| @everyone",
        "- 1: config.json has more than 1048576 bytes: `google/long`",
        "- 1: config.json is not JSON, or is nested too deep: `google/nojson`",
        "- 1: a number in config.json is larger than any model's: `google/endless`",
        "- 1: config.json does not say what its layers are (TypeError): `google/words`",
        "- 1: what the Hub says of it has no form that is known: `google/card`",
    ):
        assert line.replace("\\|", "|") in body


def test_what_does_not_answer_is_said_and_the_rest_is_written(hub: Hub, discover: Discover) -> None:
    """Exit status 3: nobody may take silence for no news."""
    hub.add(repo(), repo("openai/other"), repo("google/refused"))
    hub.refusals["/api/models?author=openai"] = [(503, {"Retry-After": "0"})] * 9
    hub.refusals["/google/refused/resolve"] = [(429, {"Retry-After": "3600"})] * 9
    hub.refusals["/api/models?filter"] = [(500, {"Retry-After": "0"})] * 9
    body = discover(status=3)
    assert [model["id"] for model in discover.models()] == ["new-1b"]
    for said in (
        "`the Hub did not give the models of openai: status 503, asked 4 times`",
        "`the Hub did not give what is trending: status 500, asked 4 times`",
        "`the Hub did not give google/refused: status 429, asked 1 time`",
    ):
        assert f"- {said}" in body.partition("## Could not be asked")[2]


def test_a_dry_run_prints_the_difference_and_writes_no_table(hub: Hub, discover: Discover, folder: Path) -> None:
    """As `diff` writes it; the packaged tables are not edited without being named."""
    hub.add(repo())
    before = contents(folder)
    discover("--dry-run", "--recipes", str(folder.parent / "recipes"))
    assert contents(folder) == before and not (folder.parent / "recipes").exists()
    assert '+[[model]]\n+id = "new-1b"\n' in discover.said
    command = [sys.executable, "-m", "readiness", "discover"]
    done = subprocess.run(command, env=discover.environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("readiness: discover edits tables: name their folder with --matrix DIR, or give --dry-run\n")


def test_only_days_that_are_looked_at_count(hub: Hub, discover: Discover) -> None:
    """By a day of one's own; one that is no day is refused."""
    hub.add(repo("google/old", created="2026-01-01T00:00:00.000Z"), repo("google/young"))
    assert "among what came since 2026-06-01" in discover("--since", "2026-06-01")
    assert [model["id"] for model in discover.models()] == ["young"]
    discover("--since", "yesterday", status=2)


def test_new_releases_are_added_where_they_load_without_a_lock(discover: Discover, folder: Path) -> None:
    """An image by its digest, a nightly one too, the next night in its place; nobody makes a lock here."""
    engines = folder / "engines.toml"
    before = engines.read_text().replace('"requirements/fake.txt"\n', f'"requirements/fake.txt"\n\n{IMAGE}', 1)
    engines.write_text(before)
    (folder / "requirements" / "fake.in").write_text("alpha==0.0.1\n")
    (folder / "requirements" / "other.in").write_text("alpha==0.0.2\n")
    known = {"fake/engine:v0.0.3": NEW, "fake/engine:nightly": TONIGHT}
    before = before.replace("other.txt", f'other.txt"\n\n{IMAGE.replace("0.0.1", "0.0.2")}#"', 1)
    engines.write_text(before)
    with index([file("0.0.2"), file("0.0.3", "2026-11-20")]) as url, registry_server.daemon(known) as address:
        discover.environment |= {"UV_DEFAULT_INDEX": url, "DOCKER_HOST": address}
        body = discover()
        after = engines.read_text()
        assert after.startswith(before)
        stable, nightly = tomllib.loads(after)["release"][-2:]
        assert (stable["version"], stable["image"]["digest"], "requirements" in stable) == ("0.0.3", NEW, False)
        assert (nightly["channel"], nightly["image"]["digest"]) == ("nightly", TONIGHT)
        assert "- **fake 0.0.3**, 2026-11-20. It needs a lock: copy requirements/fake-0.0.2.in to" in body
        assert f"The tag nightly is {TONIGHT}." in body.replace("`", "")
        discover()
        assert engines.read_text() == after
        known["fake/engine:nightly"] = f"sha256:{'c' * 64}"
        discover()
        assert engines.read_text() == after.replace(TONIGHT, known["fake/engine:nightly"])
        known["fake/engine:nightly"] = registry_server.REFUSED
        assert "the registry gives no digest of fake/engine:nightly" in discover(status=3)
