"""Badges of a model on an engine, as SVG and as what shields.io reads from an endpoint. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import anybadge

from reports.site.views import Shown

COLOURS = {"right": "#0a6e4f", "partly": "#8a5300", "wrong": "#b42318", "grey": "#57606a"}
"""White words on them have a contrast of at least 4.5."""


def best(squares: Sequence[Shown]) -> Shown:
    """Of one model on one engine: the highest level, on whatever device and channel."""
    return max(squares, key=lambda square: (-1 if square.level is None else square.level, square.channel == "stable"))


def message(square: Shown) -> str:
    """Level, word, and device."""
    level = "not known" if square.level is None else f"{square.level} {square.level_name}"
    return f"{level} on {square.device}" + (f", {square.age_nights} nights old" if square.stale else "")


def endpoint(square: Shown) -> dict[str, object]:
    """For shields.io's endpoint badge."""
    colour = COLOURS["grey" if square.stale else square.colour]
    return {"schemaVersion": 1, "label": square.engine, "message": message(square), "color": colour}


def svg(square: Shown) -> str:
    """The badge itself."""
    return _drawn(square.engine, message(square), COLOURS["grey" if square.stale else square.colour])


@lru_cache(maxsize=1000)
def _drawn(label: str, words: str, colour: str) -> str:
    made = anybadge.Badge(label=label, value=words, default_color=colour)
    # Its mask is numbered by how many were made before: the same badge must be the same file.
    return re.sub(r"anybadge_\d+", "round", made.badge_svg_text)
