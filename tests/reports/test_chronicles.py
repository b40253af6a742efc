"""What the time machine has left beside the results."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from matrix.chronicle import APPEARANCES, FOLDER, Appearance, Chronicle
from matrix.results import write_json
from reports import chronicles
from reports.chronicles import Chronicles

DAY = dt.date(2026, 1, 1)
CAME = Appearance(architecture="XForCausalLM", version="5.1", released=DAY)


def chronicle(engine: str) -> Chronicle:
    return Chronicle(engine=engine, distribution=engine, dated_by=engine, since=DAY, until=DAY, moments=())


def test_every_engine_and_every_class_is_read_back_and_what_is_broken_is_named(tmp_path: Path) -> None:
    """One file that nobody can read takes nothing else away."""
    folder = tmp_path / FOLDER
    for engine in ("beta", "alpha"):
        write_json(folder / f"{engine}.json", chronicle(engine))
    write_json(folder / APPEARANCES, [CAME])
    (folder / "broken.json").write_text("{}")
    found = chronicles.read(tmp_path)
    assert (found.engines, found.appearances) == ((chronicle("alpha"), chronicle("beta")), {"XForCausalLM": CAME})
    (problem,) = found.problems
    assert problem.startswith(f"{folder / 'broken.json'}: not a readable Chronicle: ")


def test_where_no_time_machine_has_been_nothing_is_known(tmp_path: Path) -> None:
    """A fresh checkout."""
    assert chronicles.read(tmp_path) == Chronicles(engines=(), appearances={}, problems=())
