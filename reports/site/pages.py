"""Pages for people: the grid, what a PASS means, about; one a model, one an engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from reports import adoption, proofs, templating
from reports.grid import Place, Square
from reports.levels import LEVELS
from reports.microscope import is_tiny
from reports.site import badges, charts, files, pictures, releases, views
from reports.site.gather import Gathered
from reports.site.rendering import Files, as_json, rendered
from reports.site.views import Shown

SIZES = [
    ("0-1", "under 1B"),
    ("1-8", "1B to 8B"),
    ("8-40", "8B to 40B"),
    ("40-200", "40B to 200B"),
    ("200-", "200B and more"),
]
"""Parameters, in billions: values that `static/grid.js` reads, and words."""

Choices = list[tuple[str, str, list[tuple[str, str]]]]
"""Of the filters: field, label, and values with their words."""


def front(shown: Gathered, environment: Environment) -> Files:
    """The first page and what it leads to, for people and for programs."""
    sections, tally = views.sections(shown.squares, shown.models), _tally(shown)
    yield "index.html", rendered(
        environment, "index.html.j2", root="", here="grid", shown=shown, devices=sections, choices=_choices(shown),
        tally=tally,
    )  # fmt: skip
    power = proofs.verdict_power()
    yield "pass.html", rendered(
        environment, "pass.html.j2", root="", here="pass", score=proofs.mutation_score(), power=power,
        coverage=proofs.fault_coverage(), drawn={name: pictures.power(one) for name, one in power.models.items()},
    )  # fmt: skip
    engines = sorted({square.engine for square in shown.squares})
    yield (
        "about.html",
        rendered(environment, "about.html.j2", root="", here="about", engines=engines, models=sorted(shown.models)),
    )
    yield "grid.json", as_json(files.grid_file(shown))
    plain = templating.environment(autoescape=False)
    yield "llms.txt", rendered(plain, "llms.txt.j2", shown=shown, tally=tally, made_at=shown.made_at)


def _tally(shown: Gathered) -> list[tuple[str, str]]:
    """In numbers, without tiny checkpoints where anything else was measured."""
    served = [square for square in shown.squares if not is_tiny(shown.models[square.model])] or shown.squares
    colours = [square.colour for square in served]
    known = sum(square.level is not None for square in served)
    told = {"models": len({square.model for square in served}), "squares": len(served)}
    told |= {colour: colours.count(colour) for colour in badges.COLOURS}
    share = f"{known / len(served):.0%}" if served else "–"
    return [*((name, str(count)) for name, count in told.items()), ("decided", share)]


def _choices(shown: Gathered) -> Choices:
    """Only what some model has."""

    def of(values: Iterable[str | None]) -> list[tuple[str, str]]:
        return [(value, value) for value in sorted({value for value in values if value})]

    models = shown.models.values()
    return [
        ("organisation", "Organisation", of(model.organisation for model in models)),
        ("country", "Country", of(model.country for model in models)),
        ("licence", "Licence", of(model.licence for model in models)),
        ("kind", "Architecture", of(kind for model in models for kind in model.kinds)),
        ("total", "Size", SIZES),
        ("active", "Active size", SIZES),
        ("device", "Device", of(square.device for square in shown.squares)),
        ("channel", "Channel", of(square.channel for square in shown.squares)),
        ("level", "Level, at least", [(str(number), f"{number} {name}") for number, name in enumerate(LEVELS)]),
        ("state", "State", [(colour, colour) for colour in badges.COLOURS]),
    ]


def models(shown: Gathered, environment: Environment) -> Files:
    """What decides whether a model can be taken into use, and with which engine."""
    own: dict[str, list[tuple[Square, Shown]]] = {}
    for square, words in zip(shown.grid.squares, shown.squares, strict=True):
        own.setdefault(words.model, []).append((square, words))
    for name, pairs in own.items():
        model = shown.models[name]
        devices = sorted({words.device for _, words in pairs})
        yield f"models/{name}.html", rendered(
            environment, "model.html.j2", root="../", here="", model=model, facts=views.facts(model), levels=LEVELS,
            choices={device: _choice(pairs, device, shown.today) for device in devices},
            squares=[(words, _strip(shown, square.place, words)) for square, words in pairs],
            nights=views.STRIP_NIGHTS, days=shown.days_to_levels(name), days_since=shown.counted_from(name),
        )  # fmt: skip


def _choice(pairs: Sequence[tuple[Square, Shown]], device: str, today: dt.date) -> dict[str, Any] | None:
    here = [(square, words) for square, words in pairs if words.device == device]
    chosen = adoption.choice([square for square, _ in here], today)
    if chosen is None:
        return None
    words = next(words for square, words in here if square is chosen.square)
    return {"square": words, "speed": chosen.speed, "result": chosen.result}


def _strip(shown: Gathered, at: Place, words: Shown) -> Markup:
    nights = views.nights_of(shown.timelines.get(at, ()), shown.today)
    return Markup(charts.strip(nights, f"{words.release} on {words.device}: {words.level_name}, {words.since_words}"))


def engines(shown: Gathered, environment: Environment) -> Files:
    """What an engine runs, and what broke and was mended between its releases."""
    for engine in sorted({one.result.cell.release.engine for one in shown.standings}):
        measured = releases.measured(shown.standings, shown.squares, engine)
        yield f"engines/{engine}.html", rendered(
            environment, "engine.html.j2", root="../", here="", engine=engine, releases=measured,
            squares=[square for square in shown.squares if square.engine == engine],
            between=releases.between(shown.standings, measured),
        )  # fmt: skip
