"""What counts as a new model, by what strangers have written."""

from __future__ import annotations

import datetime as dt
import re
import string
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix import discover, parameters, watch
from matrix.cells import HubSource, Id, Model, Record
from matrix.discover import Checkpoint, NotUnderstood, Repository
from matrix.errors import WrongInput
from matrix.load import PACKAGED
from matrix.watch import Account, Declined, Watch
from probes.checkpoints.recipes import recipes

SINCE = dt.date(2026, 11, 1)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WATCH = Watch(
    declined=(Declined(repo="google/robot-1b", reason="it moves arms"),),
    released_within_days=30,
    listed=10,
    trending=10,
    account=(
        Account(name="google", organisation="Google", country="US"),
        Account(name="ibm-granite", organisation="IBM", country="US"),
        Account(name="ibm-ai-platform", organisation="IBM", country="US"),
    ),
)
CONFIG: dict[str, Any] = {
    "architectures": ["NewForCausalLM"],
    "model_type": "new",
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096,
}


def repository(name: str = "google/new-1b", **more: Any) -> Repository:
    made = {"revision": COMMIT, "created": dt.datetime(2026, 11, 20, tzinfo=dt.UTC), "files": ("model.safetensors",)}
    return Repository(name=name, **{**made, **more})


def model(config: dict[str, Any], listed: Repository | None = None, **more: Any) -> Model:
    checkpoint = Checkpoint(repository=listed or repository(), config=config, **more)
    return discover.model(checkpoint, config, ("dense",), WATCH, "new-1b")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"task": "image-text-to-text"}, None),
        ({"name": "nobody/new-1b"}, None),
        ({"name": "google/../../etc"}, "its name is none that the Hub gives"),
        ({"name": "google/new\n[[model]]"}, "its name is none that the Hub gives"),
        ({"name": "google/known"}, "in models.toml already"),
        ({"name": "google/robot-1b"}, "declined: it moves arms"),
        ({"private": True}, discover.PRIVATE),
        ({"created": None}, "the Hub does not say when it came"),
        ({"created": dt.datetime(2026, 10, 31, 23, tzinfo=dt.UTC)}, "came before the days that are looked at"),
        ({"files": ("model.gguf", "onnx/model.safetensors")}, "has no safetensors weights"),
        ({"files": ("adapter_model.safetensors",)}, "has no safetensors weights"),
        ({"files": ("model.safetensors", "adapter_config.json")}, "an adapter"),
        ({"task": "automatic-speech-recognition"}, "is made for another task than writing text"),
        ({"revision": "main"}, "the Hub names no commit of it"),
        ({"tags": ("base_model:google/new-1b-base", "base_model:finetune:google/new-1b-base")}, None),
        ({"tags": ("base_model:quantized:google/new-1b-base",)}, "a quantization"),
        ({"tags": ("base_model:merge:google/new-1b-base",)}, "a merge"),
        ({"tags": ("base_model:Qwen/Qwen3-8B",)}, "a fine-tune of somebody else's model"),
        ({"tags": ("base_model:finetune:ibm-granite/x",), "name": "ibm-ai-platform/y"}, None),
        ({"tags": ("base_model:finetune:ibm-granite/x",)}, "a fine-tune of somebody else's model"),
    ],
)
def test_a_listing_tells_what_is_no_find(changed: dict[str, Any], reason: str | None) -> None:
    """Each with its reason; a lab's own tuned release is a release, and so is one from another account of the lab."""
    assert discover.why_not(repository(**changed), WATCH, SINCE, {"google/known"}) == reason


def test_weights_are_those_that_transformers_reads() -> None:
    """Some labs put the same weights beside them in a form of their own."""
    files = ("consolidated.safetensors", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert repository(files=files).weights == files[1:]
    assert repository(files=files[:1]).weights == files[:1]
    assert Checkpoint(repository=repository(files=files), config={}, sizes={files[1]: 3, files[2]: 4}).size == 7
    assert Checkpoint(repository=repository(files=files), config={}, sizes={files[1]: 3}).size is None


def test_an_entry_says_what_is_known_and_leaves_out_the_rest() -> None:
    """Organisation and country by the watch list; a commit as revision; the day of the repository."""
    listed = repository(elements={"BF16": 1_000, "F32": 10}, tags=("license:apache-2.0", "region:us"))
    assert model(CONFIG, listed) == Model(
        id="new-1b", source=HubSource(repo="google/new-1b", revision=COMMIT), architecture="NewForCausalLM",
        dtype="bfloat16", context_length=4096, parameters_total=1_010, parameters_active=1_010, kinds=("dense",),
        released=dt.date(2026, 11, 20), licence="Apache-2.0", organisation="Google", country="US",
    )  # fmt: skip
    unknown = model(CONFIG, repository("nobody/new-1b", tags=("license:other",)))
    assert (unknown.organisation, unknown.country, unknown.licence) == ("nobody", None, None)
    assert unknown.parameters_total is None and unknown.parameters_active is None


def test_a_licence_of_ones_own_is_said_by_its_name_unless_that_is_no_name() -> None:
    """What a card says goes into a table of ours."""
    other = repository(tags=("license:other",))
    assert model(CONFIG, other, licence="glm-4-9b").licence == "glm-4-9b"
    assert model(CONFIG, other, licence='"\n[[model]]').licence is None
    assert model(CONFIG, repository(tags=("license:gemma",))).licence == "Gemma"


def test_the_dtype_is_the_configs_or_that_of_the_weights() -> None:
    """As old and new files write it."""
    assert model({**CONFIG, "torch_dtype": "torch.float16"}).dtype == "float16"
    assert model({**CONFIG, "torch_dtype": None, "dtype": "float32"}).dtype == "float32"
    assert model({**CONFIG, "torch_dtype": "auto"}, repository(elements={"F16": 9, "F32": 2})).dtype == "float16"
    with pytest.raises(NotUnderstood, match=r"neither config\.json nor the weights say the dtype"):
        model({**CONFIG, "torch_dtype": ["bfloat16"]})


def test_quantized_weights_are_said_and_taken_from_who_is_watched_alone() -> None:
    """Some labs release nothing else, and anybody can quantize that. Packed weights count no parameters."""
    config = {**CONFIG, "quantization_config": {"quant_method": "fp8"}}
    listed = repository(elements={"F8_E4M3": 900, "BF16": 100})
    assert (model(config, listed).note, model(config, listed).parameters_total) == ("Released quantized (fp8).", 1_000)
    packed = model(config, repository(elements={"I32": 900, "BF16": 100}))
    assert packed.parameters_total is None
    assert Checkpoint(repository=listed, config={"quantization_config": "\n"}).quantized == "some way"
    with pytest.raises(NotUnderstood, match="nobody who is watched has released them so"):
        model(config, repository("nobody/new-1b"))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ([1], "config.json holds list, and not an object"),
        ({}, "names no class"),
        ({"architectures": []}, "names no class"),
        ({"architectures": {"a": 1}}, "names no class"),
        ({"architectures": [None]}, "names no class"),
        ({"architectures": ["BertModel"]}, "is none that writes text"),
        ({"architectures": ["Evil|\nForCausalLM"]}, "is none that writes text"),
        ({**CONFIG, "num_hidden_layers": 10**9}, "is larger than any model's"),
        ({**CONFIG, "kv_lora_rank": 10**9}, "is larger than any model's"),
        ({**CONFIG, "text_config": {"head_dim": [1, 1e300]}}, "is larger than any model's"),
        ({**CONFIG, "a": {"b": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}}, "nested more than 16 deep"),
    ],
)
def test_a_config_that_is_no_models_is_refused(config: object, reason: str) -> None:
    """Before anything works with it: some of these would never end."""
    with pytest.raises(NotUnderstood, match=re.escape(reason)):
        discover.checked(config)


@pytest.mark.parametrize("recipe", recipes().values(), ids=recipes())
def test_every_class_that_is_known_here_would_be_found(recipe: Any) -> None:
    """The classes of all recipes write text, and their configs are no strangers'."""
    discover.checked(recipe.whole_config())


def test_a_context_length_is_a_number() -> None:
    """True is none, a text is none, and none is not guessed."""
    assert model({**CONFIG, "max_position_embeddings": "4096", "n_positions": 512}).context_length == 512
    for wrong in (True, None, 0, -1, 1e3, 10**12, [1]):
        with pytest.raises(NotUnderstood, match="says no context length"):
            model({**CONFIG, "max_position_embeddings": wrong})


def test_ids_are_made_of_names_and_are_unlike_others() -> None:
    """The account's name comes before it where two have called theirs the same."""
    assert discover.model_id("Qwen/Qwen3.5-27B_Instruct", ()) == "qwen3.5-27b-instruct"
    assert discover.model_id("Other/Qwen3.5-27B", {"qwen3.5-27b"}) == "other-qwen3.5-27b"
    assert discover.model_id("a/b", {"b", "a-b"}) == "a-b-2"
    with pytest.raises(NotUnderstood, match="no id can be made"):
        discover.model_id("a/b", {"b", "a-b", "a-b-3"})


class _Named(Record, frozen=True, kw_only=True):
    id: Id


@given(st.text(alphabet=string.printable + "é‮", max_size=200))
def test_whatever_a_name_is_an_id_fits_the_tables(name: str) -> None:
    """And the names of folders."""
    try:
        found = discover.model_id(name, ())
    except NotUnderstood:
        return
    assert msgspec.convert({"id": found}, _Named).id == found
    assert len(found) <= discover.LONGEST_ID


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
KEYS = ("torch_dtype", "max_position_embeddings", "quantization_config", "vision_config", "num_experts", "hidden_size")


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from([("dense",), ("moe",)]))
def test_no_config_ends_the_search(config: dict[str, Any], kinds: tuple[Any, ...]) -> None:
    """It is an entry that the tables take, or it is not understood."""
    checkpoint = Checkpoint(repository=repository(elements={"BF16": 10**9}), config={**CONFIG, **config})
    try:
        made = discover.model(checkpoint, discover.checked(checkpoint.config), kinds, WATCH, "new-1b")
    except NotUnderstood:
        return
    assert msgspec.json.decode(msgspec.json.encode(made), type=Model) == made


@pytest.mark.parametrize(
    ("elements", "total"),
    [
        ({"BF16": 10, "F32": 1}, 11),
        ({"BF16": 1_000, "I64": 3}, 1_000),
        ({"U8": 1_000, "BF16": 10}, None),
        ({"BF16": 10**20}, None),
        ({"BF16": -5}, None),
        ({}, None),
    ],
)
def test_parameters_are_elements_that_hold_one_each(elements: dict[str, int], total: int | None) -> None:
    """Weights of four bits are packed, several to an element; a count that no disk holds is none."""
    assert parameters.total(elements) == total


QWEN3_30B_A3B = {
    "hidden_act": "silu", "hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 48, "decoder_sparse_step": 1, "mlp_only_layers": [],
}  # fmt: skip
TOTAL = 30_532_122_624


def test_active_parameters_are_told_where_the_config_says_enough() -> None:
    """Qwen says 3.3 billion of its 30.5; a dense model has all of its own."""
    assert parameters.active(QWEN3_30B_A3B, TOTAL, ("moe",)) == 3_353_032_704
    assert parameters.active({}, 1_000, ("dense",)) == 1_000
    assert parameters.active(QWEN3_30B_A3B, None, ("moe",)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"num_experts": None},
        {"num_experts_per_tok": 129},
        {"num_experts": True},
        {"hidden_act": "relu2"},
        {"decoder_sparse_step": 2},
        {"num_nextn_predict_layers": 1},
        {"mlp_only_layers": [1]},
        {"moe_intermediate_size": 1_536},
        {"hidden_size_per_layer_input": 256},
    ],
)
def test_active_parameters_are_left_out_where_it_does_not(changed: dict[str, Any]) -> None:
    """Other layers, other experts, or a sum that does not fit what is there."""
    assert parameters.active({**QWEN3_30B_A3B, **changed}, TOTAL, ("moe",)) is None


def test_who_released_a_family_that_has_a_recipe_is_watched() -> None:
    """Under the account that the recipe names, as the organisation and the country that it names."""
    packaged = watch.read(PACKAGED)
    of_recipes = {(one.published.partition("/")[0], one.organisation, one.country) for one in recipes().values()}
    assert {(one.name, one.organisation, one.country) for one in packaged.account} == of_recipes


def test_the_watch_list_is_strict(tmp_path: Path) -> None:
    """A slip in it ends the command; a folder without one has the packaged list."""
    assert watch.read(tmp_path) == watch.read(PACKAGED)
    text = (PACKAGED / watch.FILE).read_text()
    for old, new, said in (
        ('country = "CN"', 'country = "China"', r"watch.toml: .*\$\.account\[\d+\]\.country"),
        ("trending = 100", "trending = 0", r"trending"),
        ("listed = 500", "listd = 500", "listd"),
        ('name = "Qwen"', 'name = "google"', r"more than one \[\[account\]\] is called google"),
        ("vllm/vllm-openai:nightly", "vllm", r"\$\.tag"),
        ("[[account]]", "[account", "watch.toml: "),
    ):
        assert old in text
        (tmp_path / watch.FILE).write_text(text.replace(old, new, 1))
        with pytest.raises(WrongInput, match=said):
            watch.read(tmp_path)
    assert tomllib.loads(text)["nightly"]
