"""Standalone programs that show a failure: one file, the engine and transformers, and nothing of this project. Pure."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matrix.cells import Cell, HubSource, Record
from matrix.results import Result, Status
from reports import templating
from reports.bugs.form import Dialect, Form

WIDTH = 116
"""Of lines, as the rest of this project has them."""

LINES = 60
"""What a program stays under; the config of its checkpoint goes into one line where it has to."""

LENGTH = 160
"""Tokens of the prompt, where the model's context allows: beyond every breakpoint of a tiny checkpoint."""

WORDS = 12
"""The fewest characters of an error by which it is known again."""

FLOAT32_LIMIT = 0.01
"""Nats (RMS), where the numbers of a verdict name none: a thousand times float32's rounding."""

NEEDLESS = ("--served-model-name", "--host")
"""Options, each with a value, that a repro does without."""

EXIT = re.compile(r"^.*? while \w+(?:: |$)")
"""How a reason begins that quotes an engine's last words."""

VARYING = re.compile(r"0x[0-9a-fA-F]+|/[\w./-]+|\d{3,}|CACHE\S*")


class Repro(Record, frozen=True, kw_only=True):
    """What a program is made of."""

    title: str
    run: tuple[str, ...]
    """Lines for a shell: in the official image, and with pip."""
    config: dict[str, Any] | None
    """Of the tiny checkpoint that it makes; None where it takes a published one."""
    repo: str = ""
    revision: str = ""
    command: tuple[str, ...]
    """The engine's own, with MODEL, PORT and python for what differs."""
    variables: dict[str, str]
    health: str
    length: int
    words: str = ""
    """Of a crash, what its log must hold."""
    limit: float | None = None
    """Nats (RMS) beyond which logprobs are wrong; None: measured by the program against bfloat16."""


def program(
    result: Result, form: Form | None, config: Mapping[str, Any] | None, health: str, *, command: Sequence[str]
) -> str | None:
    """The program for a failure; None where this project cannot write one by itself.

    `config` is the config.json of the tiny checkpoint that failed, None for a published model. Only loading and
    correctness can be shown by one request, and only of a model that anybody can get; what runs by a stand-in of ours
    (a shim that is no part of the engine) cannot be shown without it.
    """
    if form is None or form.dialect is None or result.probe not in ("loading", "correctness"):
        return None
    if config is None and not isinstance(result.cell.model.source, HubSource):
        return None
    if any("SHIMS" in word for word in command):
        return None
    crash = result.verdict.status is Status.CRASH
    words = last_words(result.verdict.reason) if crash else ""
    if (crash and not words) or (not crash and result.probe == "loading"):
        return None
    template = _environment().get_template("repro_crash.py.j2" if crash else "repro_wrong.py.j2")
    made = _repro(result, form, form.dialect, config, health, command, words)
    wrapped, whole = (f"{template.render(repro=made, dialect=form.dialect, width=width)}\n" for width in (WIDTH, None))
    return wrapped if len(wrapped.splitlines()) < LINES else whole


def _repro(
    result: Result,
    form: Form,
    dialect: Dialect,
    config: Mapping[str, Any] | None,
    health: str,
    command: Sequence[str],
    words: str,
) -> Repro:
    cell, source = result.cell, result.cell.model.source
    hub = source if isinstance(source, HubSource) else None
    where = f"{hub.repo}" if hub else f"a tiny random {cell.model.architecture}"
    return Repro(
        title=f"{cell.release.engine} {cell.release.version}: {_what(result)} of {where}.",
        run=run_lines(form, cell),
        config=dict(config) if config is not None else None,
        repo=hub.repo if hub else "",
        revision=hub.revision if hub else "",
        command=_without_options(command),
        variables=dialect.variables.get(cell.device.kind, {}),
        health=health,
        length=min(LENGTH, cell.model.context_length // 2),
        words=words,
        limit=_limit(result),
    )


def _what(result: Result) -> str:
    """What fails, in a few words."""
    if result.verdict.status is Status.CRASH:
        return "a crash"
    return "logprobs that are not transformers' in float32,"


def run_lines(form: Form, cell: Cell) -> tuple[str, ...]:
    """How a program is run: in the image that a cell was measured in or the official one, and with pip."""
    version = cell.release.version
    image = cell.image.name if cell.image is not None else form.image and form.image.format(version=version)
    gpus = "--gpus all " if cell.device.kind == "cuda" or cell.image is None else ""
    lines = [f'docker run --rm {gpus}-v "$PWD:/repro" --entrypoint python3 {image} /repro/repro.py'] if image else []
    return (*lines, f"{'or: ' if lines else ''}{form.install.format(version=version)} && python repro.py")


def last_words(reason: str) -> str:
    """The longest piece of an engine's last words that does not change from run to run; empty where it is short."""
    said = EXIT.sub("", reason)
    pieces = [piece.strip() for piece in VARYING.split(said)]
    longest = max(pieces, key=len, default="")
    return longest if len(longest) >= WORDS else ""


def _limit(result: Result) -> float | None:
    """In float32, halfway (geometrically) between what rounding explains and what was seen."""
    if result.cell.dtype != "float32":
        return None
    numbers = result.verdict.numbers
    noise, seen = numbers.get("prefill_noise_rms", 0.0), numbers.get("prefill_rms", 0.0)
    return math.sqrt(noise * seen) if 0 < noise < seen else FLOAT32_LIMIT


def _without_options(command: Sequence[str]) -> tuple[str, ...]:
    """A command without what is ours alone, and changes no answer: the name it serves by, and where it listens."""
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word in NEEDLESS:
            next(words, "")
        elif word != "-P":
            kept.append(word)
    return tuple(kept)


def _environment() -> Any:
    environment = templating.environment(autoescape=False)
    environment.filters |= {"source": _source, "command": _command, "json_lines": _json_lines}
    return environment


def _source(value: object) -> str:
    """A value as Python writes it, in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def _command(words: Sequence[str]) -> str:
    """The engine's command line as a list, by this program's interpreter, port and folder."""
    places = {"python": "sys.executable", "MODEL": "FOLDER", "PORT": "URL[-5:]"}
    written = [places.get(word, _source(word)) for word in words]
    lines = textwrap.wrap(", ".join(written), WIDTH - 11, break_long_words=False, break_on_hyphens=False)
    return "[" + "\n           ".join(lines) + "]"


def _json_lines(value: Mapping[str, Any], width: int | None) -> str:
    whole = json.dumps(value)
    if width is None:
        return whole
    return textwrap.fill(whole, width, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)
