"""Atom feeds of changes alone: of everything, of an engine, of a model. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from feedgen.feed import FeedGenerator

from reports.site.views import News

ENTRIES = 50
"""The newest so many."""


def atom(title: str, path: str, entries: Sequence[News], base: str, made_at: dt.datetime) -> bytes:
    """One feed; its ids are URNs, which stay the same wherever the site is published."""
    feed = FeedGenerator()
    feed.id(f"urn:readiness-matrix:{path}")
    feed.title(title)
    feed.author({"name": "Readiness matrix"})
    feed.link(href=f"{base}{path}", rel="self")
    kept = sorted(entries, key=lambda one: one.day)[-ENTRIES:]
    feed.updated(_noon(kept[-1].day) if kept else made_at)
    for one in kept:
        place = one.place
        entry = feed.add_entry()
        entry.id(f"urn:readiness-matrix:{place.model}:{place.engine}:{place.channel}:{place.device}:{one.day}")
        entry.title(one.sentence)
        entry.content(one.why or one.sentence, type="text")
        entry.updated(_noon(one.day))
        entry.link(href=f"{base}models/{place.model}.html")
    return bytes(feed.atom_str(pretty=False))


def _noon(day: dt.date) -> dt.datetime:
    """A day as a moment, as feeds want one."""
    return dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC)
