"""Write the site: pages, files for programs, feeds, badges. Of results alone; nothing but the folder is touched."""

from __future__ import annotations

import datetime as dt
import shutil
from importlib import resources
from pathlib import Path

import msgspec

from matrix.results import Result, write_bytes
from reports import junit, rows, store
from reports.runs import ARCHIVE
from reports.site import badges, cells, feeds, pages, views
from reports.site.collector import uncollected
from reports.site.documents import CellFile, GridFile
from reports.site.gather import Gathered
from reports.site.rendering import Files, as_json, environment
from reports.site.views import Shown
from reports.store import Store


@uncollected()
def write(shown: Gathered, found: Store, folder: Path, *, base: str = "") -> Path:
    """Write the site into a folder; returns its first page. `base`: the address that it will be published at."""
    for path, content in everything(shown, base):
        _write(folder / path, content)
    for asset in resources.files("reports").joinpath("static").iterdir():
        _write(folder / "static" / asset.name, asset.read_bytes())
    _publish_archive(found, folder)
    return folder / "index.html"


def everything(shown: Gathered, base: str) -> Files:
    """Every page and file of the site."""
    made = environment(shown)
    yield from pages.front(shown, made)
    yield from cells.pages(shown, made)
    yield from cells.records(shown)
    yield from pages.models(shown, made)
    yield from pages.engines(shown, made)
    yield "junit.xml", junit.render([one.result for one in shown.standings], pretty=False).encode()
    yield from _feeds(shown, base)
    yield from _badges(shown)
    yield from _schemas()


def _write(path: Path, content: bytes) -> None:
    """Only where it differs: a publisher then sees what has changed."""
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def _publish_archive(found: Store, folder: Path) -> None:
    """The Parquet files, as they are; those that have become one since are taken away, or rows would be there twice."""
    archived = [path for table in rows.TABLES for path in store.archived(found.folder, table)]
    targets = {folder / "data" / path.relative_to(found.folder / ARCHIVE): path for path in archived}
    for target, path in targets.items():
        if not target.is_file() or target.stat().st_size != path.stat().st_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for left in {*(folder / "data").rglob("*.parquet")} - {*targets}:
        left.unlink()


def _feeds(shown: Gathered, base: str) -> Files:
    every = views.news(shown.timelines, dt.date.min)
    yield "feeds/all.atom", feeds.atom("Readiness: every change", "feeds/all.atom", every, base, shown.made_at)
    for kind, names in (("model", shown.models), ("engine", {square.engine for square in shown.squares})):
        for name in sorted(names):
            path = f"feeds/{kind}-{name}.atom"
            own = [one for one in every if getattr(one.place, kind) == name]
            yield path, feeds.atom(f"Readiness of {name}", path, own, base, shown.made_at)


def _badges(shown: Gathered) -> Files:
    by_pair: dict[tuple[str, str], list[Shown]] = {}
    for square in shown.squares:
        by_pair.setdefault((square.model, square.engine), []).append(square)
    for (model, engine), squares in by_pair.items():
        best = badges.best(squares)
        yield f"badges/{model}/{engine}.svg", badges.svg(best).encode()
        yield f"badges/{model}/{engine}.json", as_json(badges.endpoint(best))


def _schemas() -> Files:
    for name, record in (("grid", GridFile), ("cell", CellFile), ("result", Result)):
        yield f"schema/{name}.schema.json", as_json(msgspec.json.schema(record))
