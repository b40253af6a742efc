"""What is published for programs."""

from __future__ import annotations

import datetime as dt
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import msgspec
import pytest

from matrix.results import Result
from reports import compact, store
from reports.adoption import Days
from reports.site.documents import CellFile, GridFile
from tests.browsing import Site
from tests.reports.site.nights import NOW, a_week, publish

ATOM = "{http://www.w3.org/2005/Atom}"


def read(site: Site, path: str) -> Any:
    return json.loads((site.folder / path).read_text())


def test_every_file_is_as_its_schema_says(site: Site) -> None:
    """The schemas are published beside them, and are made of the records that write the files."""
    jsonschema.validate(read(site, "grid.json"), read(site, "schema/grid.schema.json"))
    cells = sorted((site.folder / "cells").glob("*.json"))
    assert len(cells) == 4
    for path in cells:
        jsonschema.validate(json.loads(path.read_text()), read(site, "schema/cell.schema.json"))
        found = msgspec.json.decode(path.read_bytes(), type=CellFile)
        for result in found.results:
            jsonschema.validate(json.loads(msgspec.json.encode(result)), read(site, "schema/result.schema.json"))
    assert isinstance(found.results[0], Result)


def test_grid_json_has_every_square_its_history_and_what_it_cost(site: Site) -> None:
    """Everything that the first page shows."""
    found = msgspec.json.decode((site.folder / "grid.json").read_bytes(), type=GridFile)
    by_place = {(one.model, one.engine, one.device): one for one in found.squares}
    broken = by_place["big-31b", "alpha", "cpu"]
    assert [(str(step.day), step.level) for step in broken.steps] == [("2026-01-04", 3), ("2026-01-08", 2)]
    assert (broken.level, broken.colour, broken.known, broken.stale) == (2, "wrong", False, False)
    assert (broken.minutes, broken.output_tokens_per_s) == (3.0, 31.5)
    assert broken.usd == pytest.approx(0.1)
    earlier = Days(at_least=None, at_most=-38, release="beta-1.0")
    assert found.models["odd-4b"].days_to_levels == {"beta": dict.fromkeys(range(3), earlier)}
    assert found.models["odd-4b"].days_since == "its release on 2026-01-08"
    assert found.decided_share == 1.0
    for page in (*broken.cells.values(), found.models["odd-4b"].page):
        assert (site.folder / page).is_file()


def test_every_link_of_every_page_leads_somewhere(site: Site) -> None:
    """Within the site."""
    dead = []
    for page in site.folder.rglob("*.html"):
        text = page.read_text()
        for part in text.split('href="')[1:]:
            target = part.partition('"')[0].partition("#")[0]
            if target and not (page.parent / target).resolve().is_file():
                dead.append((page.name, target))
    assert dead == []


@pytest.mark.parametrize(
    ("feed", "entries"), [("all", 5), ("model-big-31b", 2), ("engine-beta", 2), ("model-odd-4b", 1)]
)
def test_a_feed_has_changes_alone(site: Site, feed: str, entries: int) -> None:
    """What RFC 4287 wants of it, absolute links, and ids that stay."""
    root = ElementTree.fromstring((site.folder / "feeds" / f"{feed}.atom").read_text())
    assert root.tag == f"{ATOM}feed"
    assert all(root.find(f"{ATOM}{name}") is not None for name in ("id", "title", "updated", "author"))
    found = root.findall(f"{ATOM}entry")
    assert len(found) == entries
    for one in found:
        assert all(one.find(f"{ATOM}{name}") is not None for name in ("id", "title", "updated", "content"))
        link = one.find(f"{ATOM}link")
        assert link is not None and link.attrib["href"].startswith("https://example.org/readiness/models/")
    assert len({one.findtext(f"{ATOM}id") for one in found}) == entries


def test_what_broke_is_told_with_its_reason(site: Site) -> None:
    """By model: first it was right, then it was not."""
    root = ElementTree.fromstring((site.folder / "feeds" / "model-big-31b.atom").read_text())
    titles = [one.findtext(f"{ATOM}title") for one in root.findall(f"{ATOM}entry")]
    assert sorted(str(title) for title in titles) == [
        "big-31b on alpha-1.0 (cpu): 2 runs, was 3 right",
        "big-31b on alpha-1.0 (cpu): 3 right, first asked",
    ]
    assert "correctness FAIL: because &lt;it&gt; &amp; so" in (site.folder / "feeds" / "model-big-31b.atom").read_text()


def test_a_badge_says_level_and_device(site: Site) -> None:
    """As a picture, and as shields.io reads it."""
    assert read(site, "badges/big-31b/alpha.json") == {
        "schemaVersion": 1, "label": "alpha", "message": "2 runs on cpu", "color": "#b42318",
    }  # fmt: skip
    drawn = ElementTree.fromstring((site.folder / "badges" / "big-31b" / "alpha.svg").read_text())
    assert "2 runs on cpu" in "".join(drawn.itertext())


def test_the_archive_is_published_as_it_is(tmp_path: Path) -> None:
    """Anybody can ask it with any tool that reads Parquet."""
    a_week(tmp_path / "results")
    with store.opened(tmp_path / "results") as found:
        compact.compact(found, before=NOW.date(), remove=True, now=NOW)
    with store.opened(tmp_path / "results") as found:
        publish(found, tmp_path / "site")
    files = str(tmp_path / "site" / "data" / "results" / "*" / "*.parquet")
    counted = duckdb.execute("SELECT month, count(*) FROM read_parquet(?) GROUP BY ALL", [files]).fetchall()
    assert counted == [("2026-01", 57)]


def test_a_month_that_has_become_one_file_is_not_published_beside_its_parts(tmp_path: Path) -> None:
    """Whoever reads all files of the folder would count its rows twice."""
    a_week(tmp_path / "results")
    for day in (-2, 0, 30):  # two compactions in January; in February they become one file
        now = NOW + dt.timedelta(days=day)
        with store.opened(tmp_path / "results") as found:
            compact.compact(found, before=now.date(), remove=True, now=now)
        with store.opened(tmp_path / "results") as found:
            publish(found, tmp_path / "site")
    files = sorted((tmp_path / "site" / "data" / "results").rglob("*.parquet"))
    assert [path.name for path in files] == ["20260209T060000.000000Z-merged.parquet"]


def test_the_same_results_make_the_same_site(tmp_path: Path) -> None:
    """To the byte; nothing that is as it was is written again."""
    a_week(tmp_path / "results")
    for folder in ("one", "other"):
        with store.opened(tmp_path / "results") as found:
            publish(found, tmp_path / folder)
    one, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "other")
    )
    assert one == other
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*") if path.is_file()}
    with store.opened(tmp_path / "results") as found:
        publish(found, tmp_path / "one")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_llms_txt_leads_to_the_data(site: Site) -> None:
    """In Markdown, as its proposal asks."""
    lines = (site.folder / "llms.txt").read_text().splitlines()
    assert lines[0] == "# Readiness matrix"
    assert "- [big-31b](models/big-31b.html)" in lines
