"""The words of the matrix: frozen records that read the TOML, write the JSON and name every cell."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, get_args

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
"""A part of a cell's name: lower case letters, digits, single dots and dashes."""

FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
FileName = Annotated[str, msgspec.Meta(pattern=FILE_NAME)]
"""A word that is the name of a file or a folder, and no path."""

SHA = r"^[0-9a-f]{40}$"
Sha = Annotated[str, msgspec.Meta(pattern=SHA)]
"""A commit."""

Reason = Annotated[str, msgspec.Meta(min_length=1)]


OPEN_LICENCES = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0")
"""SPDX names of licences under which weights may be passed on without asking anything of who takes them."""


HISTORY = "history"
"""The profile of runs on past releases: what they find holds from the day of the release on."""


REFERENCE = "reference-5.23.0"
"""Where no model says otherwise."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every record: immutable, keyword-only, strict about what it reads."""


Tier = Literal["smoke", "standard", "deep"]
"""How much a probe costs: what every run asks, what a nightly run asks, and what is asked on purpose."""
TIERS: tuple[Tier, ...] = get_args(Tier)


class Image(Record, frozen=True, kw_only=True):
    """An engine's official image."""

    tag: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][\w./:-]*:[\w.-]+$")]
    """Repository and tag, as `docker pull` takes it."""
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """Written by `readiness images pin`; without it the tag may move, and the plan says so."""
    device_kinds: tuple[str, ...]
    """The kinds of device that this image is the build for."""
    python: str = "python3"
    """The interpreter inside."""
    user: str | None = None
    """`uid:gid` where the image allows another than its own."""

    @property
    def name(self) -> str:
        """What is pulled: by digest where it is known."""
        return f"{self.tag.rpartition(':')[0]}@{self.digest}" if self.digest else self.tag


class Release(Record, frozen=True, kw_only=True):
    """One version of one engine, in one build."""

    engine: Id
    version: Id
    channel: Literal["stable", "nightly"]
    build: Literal["official", "third-party", "patched"]
    """`third-party`: rebuilt by someone else; `patched`: runs on stand-ins of ours."""
    build_note: str = ""
    """What makes the build other than official, in one sentence."""
    released: dt.date | None = None
    device_kinds: tuple[str, ...] = ("cpu",)
    """The kinds of device this build has kernels for."""
    requirements: str | None = None
    """Hashed requirement file of the virtual environment, relative to the matrix folder."""
    dated_by: str | None = None
    """Distribution whose days of release are the engine's own, where `requirements` installs somebody's rebuild."""
    build_from_source: tuple[str, ...] = ()
    """Distributions of `requirements` that are compiled here from their source archive."""
    build_env: dict[str, str] = {}
    """Environment variables of that compilation."""

    image: Image | None = None
    """The official image, for the devices that it serves; others run what `requirements` says."""
    cap_add: tuple[str, ...] = ()
    """Capabilities that its containers need back; all others are dropped."""

    @property
    def id(self) -> str:
        """`engine-version`."""
        return f"{self.engine}-{self.version}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of device that one of its builds has kernels for."""
        return (*self.device_kinds, *(self.image.device_kinds if self.image else ()))


class Config(Record, frozen=True, kw_only=True):
    """A named set of launch settings, in words that every engine's file translates."""

    id: Id
    description: str
    dtype: Literal["model", "float32", "bfloat16"] = "model"
    """`model`: the dtype the weights were released in."""
    eager: bool = False
    """True: no graph capture and no compilation."""
    prefix_cache: bool = True
    prefill_chunk: Annotated[int, msgspec.Meta(ge=16)] | None = None
    """Tokens of a prompt that are computed at a time; None: as many as the engine takes by itself."""
    flash_attention: bool = True
    """False: the engine's plainest attention, where it offers a choice."""
    quantization: Id | None = None
    """What the weights are quantized to: a type that the engine's own tool makes, or a format of released checkpoints;
    None: they stay as they are."""
    speed_counts: bool = False
    """True for the settings that users run; only their speed is published."""


Dtype = Literal["bfloat16", "float16", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

Kind = Literal["dense", "moe", "sliding-window", "mla", "sparse-attention", "linear-attention", "state-space"]


class HubSource(Record, frozen=True, kw_only=True, tag="hub", tag_field="from"):
    """A repository on the Hugging Face Hub, pinned by commit."""

    repo: str
    revision: Sha


class PackageSource(Record, frozen=True, kw_only=True, tag="package", tag_field="from"):
    """Python packages that carry a GGUF file of the model."""

    requirements: str
    """Hashed requirement file that names them all, relative to the matrix folder."""
    member: str
    """The GGUF file's path where the packages are installed."""
    parts: tuple[str, ...] = ()
    """Files that make the member when put together in this order, where the packages carry it in pieces."""


class FolderSource(Record, frozen=True, kw_only=True, tag="folder", tag_field="from"):
    """A checkpoint folder on this machine."""

    path: str


class RecipeSource(Record, frozen=True, kw_only=True, tag="recipe", tag_field="from"):
    """A tiny checkpoint with random weights, made here in the architecture of a published model."""

    recipe: str
    """Its name, as `readiness checkpoint` takes it."""


class ScriptSource(Record, frozen=True, kw_only=True, tag="script", tag_field="from"):
    """A tiny checkpoint made here that says what is written down, so that what a server makes of it can be judged."""

    format: str
    """The chat format that it speaks: a folder of `probes/chat/formats`."""


class Model(Record, frozen=True, kw_only=True):
    """One set of weights."""

    id: Id
    source: HubSource | PackageSource | FolderSource | RecipeSource | ScriptSource
    architecture: str
    dtype: Dtype
    """The dtype that the weights are served in."""
    context_length: int
    parameters_total: int | None = None
    parameters_active: int | None = None
    kinds: tuple[Kind, ...] = ()
    """What its architecture is made of, by which readers look for their like."""
    trust_remote_code: bool = False
    """The checkpoint brings code of its own, which runs only in a container without any network."""
    tools: str | None = None
    """How it writes tool calls, by a name that engines' files translate into their parsers'; None: it writes none."""
    reasoning: str | None = None
    """The same for what it thinks before it answers."""
    text_only: bool = False
    """The model takes more than text and is asked about text alone."""
    reference: str = REFERENCE
    """The requirement file (without ending) of the environment that runs its reference forward pass."""
    released: dt.date | None = None
    licence: str | None = None
    organisation: str | None = None
    country: str | None = None
    note: str = ""
    unpublished: bool | None = None
    """True: nothing that is published holds it. None: that holds for a folder of this machine, and for nothing else."""

    @property
    def is_published(self) -> bool:
        """False for what nobody outside may hear of: its name, its results, what became of it."""
        private = isinstance(self.source, FolderSource) if self.unpublished is None else self.unpublished
        return not private

    @property
    def may_be_passed_on(self) -> bool:
        """True where the licence lets anybody give the weights to anybody."""
        return self.licence in OPEN_LICENCES


class Shape(Record, frozen=True, kw_only=True):
    """A load under which speed is measured: so many requests at once, each of random tokens and one fixed length."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]+[0-9]*$")]
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 1
    prompt_tokens: Annotated[int, msgspec.Meta(ge=1)]
    """Of each turn."""
    output_tokens: Annotated[int, msgspec.Meta(ge=2)]
    turns: Annotated[int, msgspec.Meta(ge=1)] = 1
    """More than one: each repeats all before it and adds a prompt; a cold prompt as long as the last one follows."""
    bound: Literal["bandwidth", "flops"] = "bandwidth"
    """What of the device it runs into: memory bandwidth in decode (MBU), operations per second in prefill (MFU)."""

    @property
    def longest_prompt(self) -> int:
        """Tokens of the last turn's prompt."""
        return self.turns * self.prompt_tokens


class Workload(Record, frozen=True, kw_only=True):
    """How much is asked of an engine: chosen per device, so that a cell ends in minutes."""

    corpus_sequences: int
    corpus_length: int
    """Token ids per corpus sequence."""
    decode_sequences: int
    decode_prompt_length: int
    decode_tokens: int
    """Greedily generated per sequence and scored by the reference."""
    speed_repeats: int = 5
    shapes: tuple[Shape, ...] = ()
    """The loads under which speed is measured; none: it is not measured on this device."""
    state_sequences: int = 6
    """Prompts that are asked in every way that a cache allows."""
    state_prompt_length: int = 252
    """Twice 128 less four: whole blocks of any usual size, and one that the first tokens generated complete."""
    context_sequences: int = 8
    """At each length."""
    context_lengths: tuple[int, ...] = ()
    """Asked besides those on both sides of what the architecture changes with length."""
    context_longest: int = 2048
    """Tokens of the longest sequence that is asked of this device."""
    batch_sequences: int = 40
    """Distinct requests at once."""


class Device(Record, frozen=True, kw_only=True):
    """A kind of machine that cells run on."""

    id: Id
    kind: str
    """What a release must have kernels for: `cpu`, `cuda`, …"""
    accelerators: int
    workload: Workload
    runner: tuple[str, ...] = ()
    """GitHub Actions labels; empty: no runner, so left out of the nightly plan and said so."""
    memory_gib: float | None = None
    speed_judged: bool = True
    """False where machines of this kind differ more than engines do: speeds are compared there and nobody is blamed."""
    canary_tolerance: Annotated[float, msgspec.Meta(gt=0)] = 0.03
    """The device's own bandwidth after a measurement may be this much more than 1 times that before, or the reverse."""
    datasheet_bytes_per_s: float | None = None
    """Bandwidth of its memory as its maker states it."""
    datasheet_flops_per_s: float | None = None
    """Dense bfloat16 operations as its maker states them."""
    price_per_hour: float | None = None
    """US dollars for the whole machine."""
    price_source: str = ""
    """Whose price that is, and of which day."""


class Profile(Record, frozen=True, kw_only=True):
    """A named choice of the matrix; `*` patterns select ids."""

    id: Id
    description: str
    launcher: Literal["auto", "venv", "docker"] = "auto"
    """`auto`: docker where a daemon answers, venv where none does."""
    tier: Tier = "standard"
    """Probes of this tier and of those before it are asked."""
    probes: tuple[str, ...] = ("*",)
    """Of those, the ones that are asked."""
    releases: tuple[str, ...]
    models: tuple[str, ...]
    devices: tuple[str, ...]
    configs: tuple[str, ...]
    accelerator_hours: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """What one night of it may cost; None: whatever it takes. Cells on devices without accelerators cost none."""


class Exclusion(Record, frozen=True, kw_only=True):
    """Cells that are not run, and why."""

    cells: str
    reason: Reason
    link: str | None = None


class Expectation(Record, frozen=True, kw_only=True):
    """A status other than PASS that is known and explained, so that it does not fail a run."""

    cells: str
    probe: str
    status: Literal["FAIL", "DEGRADED", "CRASH", "TIMEOUT"]
    reason: Reason
    link: Annotated[str, msgspec.Meta(pattern=r"^https?://")]


class Doubt(Record, frozen=True, kw_only=True):
    """Cells whose reference is known to be wrong: its verdicts on correctness are REF-SUSPECT, whatever they say."""

    cells: str
    reason: Reason
    link: Annotated[str, msgspec.Meta(pattern=r"^https?://")]


class Control(Record, frozen=True, kw_only=True):
    """What a long-supported model measured on an engine when one of its releases was accepted as healthy.

    Frozen: an engine that gets worse must not raise its own threshold by it.
    """

    engine: Id
    device_kind: str
    model: Id
    release: Id
    """The accepted one."""
    config: Id = "default"
    """In which it was measured: other kernels of one release lie elsewhere (vLLM on a CPU: 0.6 and, plain, 0.9)."""
    measured: dt.date
    ratio: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The larger T of prefill and decode; None where the engine gives no logprobs."""
    hard_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Generated tokens that rounding cannot explain, as a share; where the engine gives text alone."""


class Cell(Record, frozen=True, kw_only=True):
    """release x model x device x config; `id` is its one name everywhere."""

    release: Release
    model: Model
    device: Device
    config: Config
    controls: tuple[Control, ...] = ()
    """Of this engine on this kind of device."""

    @property
    def id(self) -> str:
        """The name."""
        return "__".join((self.release.id, self.model.id, self.device.id, self.config.id))

    @property
    def image(self) -> Image | None:
        """The official image for this device."""
        found = self.release.image
        return found if found is not None and self.device.kind in found.device_kinds else None

    @property
    def build(self) -> str:
        """Whose build runs on this device: an official image is official whatever the release is elsewhere."""
        return "official" if self._official else self.release.build

    @property
    def build_note(self) -> str:
        """What makes it other than official."""
        return "" if self._official else self.release.build_note

    @property
    def _official(self) -> bool:
        """True for an image beside a lock, of which `build` and its note speak then; else they speak of the image."""
        return self.image is not None and self.release.requirements is not None

    @property
    def dtype(self) -> str:
        """The dtype that the engine is told to compute in."""
        return self.model.dtype if self.config.dtype == "model" else self.config.dtype
