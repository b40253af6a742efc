"""What counts as a new model, by what the Hub and a config.json say of it. All of that is untrusted. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import msgspec

from matrix import parameters, published
from matrix.cells import DTYPES, OPEN_LICENCES, SHA, HubSource, Id, Kind, Model, Record, Release
from matrix.errors import ReadinessError
from matrix.watch import Watch

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
COMMIT = re.compile(SHA)
WORD = re.compile(r"[A-Za-z0-9][\w.+-]{0,59}", re.ASCII)
"""A stranger's word that may stand in a table of ours."""
CLASS = re.compile(r"[A-Za-z_]\w{0,99}(?:ForCausalLM|ForConditionalGeneration|LMHeadModel)", re.ASCII)
"""Classes that write text."""
TASKS = ("text-generation", "image-text-to-text", "any-to-any", "audio-text-to-text", "video-text-to-text")
"""What the Hub says of models that do."""

DEEPEST = 16
"""Tables within tables of a config.json; published ones have four."""
LARGEST = 65_536
"""Of a width, a rank or a number of heads."""
MOST_LAYERS = 1_000
SIZE = re.compile(r"(?:^|_)(?:dim|rank|size|heads|experts|width)$")
LAYERS = re.compile(r"(?:^|_)layers?$")
NOT_WIDTHS = re.compile(r"vocab|window|chunk|block_size|batch")

LONGEST = 10**9
STORED = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
LONGEST_ID = 60
"""A cell's name has four parts, and is the name of a folder."""

LICENCES = {name.lower(): name for name in OPEN_LICENCES} | {"gemma": "Gemma"}
"""The Hub's words that are written otherwise here."""

RELATIONS = {"quantized": "a quantization", "adapter": "an adapter", "merge": "a merge"}

PRIVATE = "private: only somebody who may see it can name it"
IN_TABLES = "in models.toml already"
GATED = "gated, and this token may not read it: accept its licence on the Hub and set HF_TOKEN"


class NotUnderstood(ReadinessError):
    """What a stranger has written cannot be taken for a model; the message says why, in words of ours."""


class Repository(Record, frozen=True, kw_only=True):
    """What a listing of the Hub says of a repository."""

    name: str
    """`account/name`, as the Hub calls it now."""
    revision: str | None = None
    created: dt.datetime | None = None
    gated: bool = False
    private: bool = False
    task: str | None = None
    tags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    elements: dict[str, int] = {}
    """Of its tensors, by the type they are stored in; empty where the Hub has not counted them."""

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.name.partition("/")[0]

    @property
    def weights(self) -> tuple[str, ...]:
        """Its safetensors files: those that transformers reads, where others lie beside them."""
        found = [name for name in self.files if re.fullmatch(r"[^/]+\.safetensors", name)]
        usual = [name for name in found if name.startswith("model")]
        return tuple(usual or [name for name in found if not name.startswith("adapter")])


class Checkpoint(Record, frozen=True, kw_only=True):
    """A repository with what its files say."""

    repository: Repository
    config: dict[str, Any]
    sizes: dict[str, int] = {}
    """Bytes of its files."""
    licence: str | None = None
    """In the words of its card."""

    @property
    def size(self) -> int | None:
        """Bytes of its weights; None where the Hub does not say them all."""
        found = [self.sizes.get(name) for name in self.repository.weights]
        return sum(size for size in found if size) if all(found) else None

    @property
    def quantized(self) -> str:
        """How its weights were quantized; empty where they were not."""
        about = self.config.get("quantization_config")
        method = about.get("quant_method") if isinstance(about, Mapping) else None
        return (method if _word(method) else "some way") if about else ""


class LeftOut(Record, frozen=True, kw_only=True):
    """What was seen and is no find."""

    name: str
    """As a stranger wrote it; empty where it must not be told."""
    reason: str


class Find(Record, frozen=True, kw_only=True):
    """A new model."""

    model: Model
    gated: bool
    watched: bool
    """False: it is trending."""
    new_class: bool
    size: int | None
    """Bytes of its weights."""
    quantized: str = ""
    own_code: bool = False
    """Its config names code that the repository brings."""
    tiny: str = ""
    """What became of its recipe, in a sentence."""
    forecast: dict[str, str] = {}
    """Whether a release knows its class, by the release's id."""


class NewRelease(Record, frozen=True, kw_only=True):
    """A release of an engine that the tables lack."""

    engine: Id
    version: str
    released: dt.date
    said: tuple[str, ...]
    """What was found of it, and what is to be done, in sentences."""
    entry: Release | None = None
    """What loads as it is: an image with its digest."""


class Discovery(Record, frozen=True, kw_only=True):
    """What one look has brought."""

    day: dt.date
    since: dt.date
    finds: tuple[Find, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    releases: tuple[NewRelease, ...] = ()
    unasked: tuple[str, ...] = ()
    """What did not answer."""


def why_not(repository: Repository, watch: Watch, since: dt.date, known: Collection[str]) -> str | None:
    """Why a repository is no find, as far as a listing tells; None where it may be one.

    `known`: names of the repositories that the tables have.
    """
    name = repository.name
    if repository.private:
        return PRIVATE
    if not NAME.fullmatch(name):
        return "its name is none that the Hub gives"
    if name in known:
        return IN_TABLES
    if (reason := watch.declined_for(name)) is not None:
        return f"declined: {reason}"
    if repository.created is None:
        return "the Hub does not say when it came"
    if repository.created.date() < since:
        return "came before the days that are looked at"
    if not repository.weights:
        return "has no safetensors weights"
    if repository.task not in (None, *TASKS):
        return "is made for another task than writing text"
    if repository.revision is None or not COMMIT.fullmatch(repository.revision):
        return "the Hub names no commit of it"
    return _derived(repository, watch)


def _derived(repository: Repository, watch: Watch) -> str | None:
    """What it was made of, where that was another model of which it is no release of its own."""
    if "adapter_config.json" in repository.files:
        return RELATIONS["adapter"]
    bases = [tag.removeprefix("base_model:") for tag in repository.tags if tag.startswith("base_model:")]
    for base in bases:
        relation, colon, name = base.partition(":")
        if relation in RELATIONS:
            return RELATIONS[relation]
        if not _same_maker(name if colon else base, repository.name, watch):
            return "a fine-tune of somebody else's model"
    return None


def _same_maker(base: str, name: str, watch: Watch) -> bool:
    one, other = watch.of(base), watch.of(name)
    if one is not None and other is not None:
        return one.organisation == other.organisation
    return base.partition("/")[0] == name.partition("/")[0]


def checked(config: object) -> dict[str, Any]:
    """A config.json that can be worked with; raises NotUnderstood for what would be no model's, or never end."""
    if not isinstance(config, dict):
        raise NotUnderstood(f"config.json holds {type(config).__name__}, and not an object")
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise NotUnderstood("config.json names no class in `architectures`")
    if not CLASS.fullmatch(names[0]):
        raise NotUnderstood("the class that config.json names is none that writes text")
    for key, value in _numbers(config):
        sized = SIZE.search(key) is not None and NOT_WIDTHS.search(key) is None
        if (sized and abs(value) > LARGEST) or (LAYERS.search(key) and abs(value) > MOST_LAYERS):
            raise NotUnderstood("a number in config.json is larger than any model's")
    return config


def _numbers(table: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number with its key; raises NotUnderstood below DEEPEST."""
    left: list[tuple[int, str, Any]] = [(1, key, value) for key, value in table.items()]
    while left:
        depth, key, value = left.pop()
        if depth > DEEPEST:
            raise NotUnderstood(f"config.json is nested more than {DEEPEST} deep")
        if isinstance(value, dict):
            left += [(depth + 1, inner, one) for inner, one in value.items()]
        elif isinstance(value, list):
            left += [(depth + 1, key, one) for one in value]
        elif isinstance(value, int | float):
            yield key, value


def model(checkpoint: Checkpoint, text: Mapping[str, Any], kinds: Sequence[Kind], watch: Watch, model_id: str) -> Model:
    """The entry of models.toml; raises NotUnderstood where a fact lacks that it needs, or one forbids it.

    `text`: the text part of the config; `kinds`: what that is made of.
    """
    repository, config = checkpoint.repository, checkpoint.config
    account = watch.of(repository.name)
    if account is None and checkpoint.quantized:
        raise NotUnderstood("its weights are quantized, and nobody who is watched has released them so")
    whole = parameters.total(repository.elements)
    made = {
        "id": model_id,
        "source": HubSource(repo=repository.name, revision=str(repository.revision)),
        "architecture": config["architectures"][0],
        "dtype": _dtype(checkpoint, text),
        "context_length": _context_length(checkpoint, text),
        "parameters_total": whole,
        "parameters_active": parameters.active(text, whole, kinds),
        "kinds": kinds,
        "text_only": published.has_media(config),
        "released": repository.created.date() if repository.created else None,
        "licence": _licence(checkpoint),
        "organisation": account.organisation if account else repository.account,
        "country": account.country if account else None,
        "note": f"Released quantized ({checkpoint.quantized})." if checkpoint.quantized else "",
    }
    return msgspec.convert(made, Model, from_attributes=True)


def model_id(name: str, taken: Collection[str]) -> str:
    """An id that no other model has: the repository's name, with the account's before it where that is taken."""
    own = name.partition("/")[2]
    for words in (own, name, f"{name}-{len(taken)}"):
        found = published.word(words)[:LONGEST_ID].strip(".-")
        if found and found not in taken:
            return found
    raise NotUnderstood("no id can be made of its name")


def _dtype(checkpoint: Checkpoint, text: Mapping[str, Any]) -> str:
    for place in (text, checkpoint.config):
        for key in published.DTYPE:
            if (found := str(place.get(key)).removeprefix("torch.")) in DTYPES:
                return found
    stored = {name: count for name, count in checkpoint.repository.elements.items() if name in STORED}
    if not stored:
        raise NotUnderstood("neither config.json nor the weights say the dtype that it is served in")
    return STORED[max(stored, key=lambda name: stored[name])]


def _context_length(checkpoint: Checkpoint, text: Mapping[str, Any]) -> int:
    for place in (text, checkpoint.config):
        for key in published.LENGTHS:
            if type(found := place.get(key)) is int and 0 < found <= LONGEST:
                return found
    raise NotUnderstood("config.json says no context length")


def _licence(checkpoint: Checkpoint) -> str | None:
    """What the card says: the name of a licence of its own before the Hub's word `other`."""
    tags = [tag.removeprefix("license:") for tag in checkpoint.repository.tags if tag.startswith("license:")]
    said = [word for word in (*tags, checkpoint.licence) if _word(word) and word != "other"]
    return LICENCES.get(said[0].lower(), said[0]) if said else None


def _word(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and WORD.fullmatch(text) is not None


def why(find: Find) -> str:
    """Why it is in."""
    place = "released by a watched account" if find.watched else "trending"
    kind = "the first of its class here" if find.new_class else "one more of a class that is here"
    return f"{place}; {kind}"
