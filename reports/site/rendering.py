"""What all pages share: the templates' environment, and how text and JSON become files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from jinja2 import Environment

from reports import templating
from reports.grid import FRESH_NIGHTS
from reports.site import views
from reports.site.gather import Gathered
from reports.site.pictures import pictures

Files = Iterator[tuple[str, bytes]]
"""Paths relative to the site, and contents."""


def environment(shown: Gathered) -> Environment:
    """The templates of pages, and what all of them know."""
    made = templating.environment(autoescape=True)
    made.globals |= {"made_at": shown.made_at, "fresh_nights": FRESH_NIGHTS}
    made.filters |= {"in_short": views.in_short, "short": short, "pictures": pictures}
    return made


def rendered(environment: Environment, template: str, **context: Any) -> bytes:
    """A page as it is written."""
    return environment.get_template(template).render(**context).encode()


def short(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def as_json(value: object) -> bytes:
    """Any record as an indented file."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
