"""What templates show."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from matrix.cells import Cell, RecipeSource
from matrix.results import Result, Status
from reports.grid import Place, grid
from reports.site import badges, releases, views
from reports.site.views import Shown
from reports.standing import standing
from reports.timeline import Step
from tests.reports.samples import cell, result, whole_cell

TODAY = dt.date(2026, 1, 2)
AT = Place(device="cpu", model="small", engine="alpha", channel="stable")


def step(day: int, level: int | None, colour: str = "right", release: str = "alpha-1.0") -> Step:
    return Step(day=dt.date(2026, 1, day), release=release, level=level, colour=colour, blocked_by="off by one")


def shown(results: list[Result], *steps: Step, today: dt.date = TODAY) -> Shown:
    (square,) = grid(standing(results)).squares
    return views.shown(square, steps, today)


def version(number: str, day: int) -> Cell:
    release = msgspec.structs.replace(cell().release, version=number, released=dt.date(2026, 1, day))
    return msgspec.structs.replace(cell(), release=release)


def test_a_square_says_since_when_or_how_old() -> None:
    """Tonight's says since when it has been so; an older one says its age instead."""
    assert shown(whole_cell(cell()), step(1, 3)).since_words == "since 2026-01-01"
    assert shown(whole_cell(cell())).since_words == "on 2026-01-02"
    old = shown(whole_cell(cell()), step(1, 3), today=dt.date(2026, 1, 10))
    assert (old.since_words, old.stale) == ("8 nights old", True)


def test_a_recent_change_of_level_is_a_trend() -> None:
    """Up or down from the step before; none where the level stayed, was not known, or changed long ago."""
    changed = (step(1, 3), step(2, 2, "wrong"))
    assert [(one.trend, one.was) for one in (shown(whole_cell(cell()), *changed),)] == [("down", "3 right")]
    assert shown(whole_cell(cell()), *changed[::-1]).trend == "up"
    for steps in ((), changed[:1], (step(1, 3), step(2, 3, "partly")), (step(1, None, "grey"), step(2, 3))):
        assert shown(whole_cell(cell()), *steps).trend == ""
    assert shown(whole_cell(cell()), *changed, today=dt.date(2026, 2, 2)).trend == ""


def test_known_is_what_rules_expect_and_nothing_else() -> None:
    """One unexpected fault beside an expected one is news."""
    expected = result("correctness", Status.FAIL, expected=Status.FAIL, minute=1)
    assert shown([result("loading"), expected]).known
    assert not shown([result("loading"), expected, result("state", Status.CRASH, minute=2)]).known
    assert not shown(whole_cell(cell())).known


def test_a_square_leads_to_the_settings_that_users_run() -> None:
    """Whichever config is named first."""
    found = shown([*whole_cell(cell(config="a-parity")), *whole_cell(cell())])
    assert found.page == f"cells/{cell().id}.html"


def test_news_says_what_it_was_and_with_which_release() -> None:
    """The newest first, and of one day what is wrong before what is right."""
    steps = (step(1, 3), step(2, 2, "wrong"), step(3, 3, release="alpha-1.1"))
    found = views.news({AT: steps}, dt.date(2026, 1, 1))
    assert [one.sentence for one in found] == [
        "small on alpha-1.1 (cpu): 3 right, was 2 runs with alpha-1.0",
        "small on alpha-1.0 (cpu): 2 runs, was 3 right",
        "small on alpha-1.0 (cpu): 3 right, first asked",
    ]
    assert [one.why for one in found] == ["", "off by one", ""]
    assert len(views.news({AT: steps}, dt.date(2026, 1, 3))) == 1


def test_nights_are_aligned_for_all_squares() -> None:
    """As many as are asked for, up to today; before the first step nothing was known."""
    found = views.nights_of((step(2, 3),), dt.date(2026, 1, 3), count=3)
    assert [(one.first.day, one.last.day, one.nights, one.colour, one.level, one.words) for one in found] == [
        (1, 1, 1, "grey", None, "not known"),
        (2, 3, 2, "right", 3, "3 right"),
    ]


def test_what_broke_and_was_mended_between_releases() -> None:
    """What both were asked and only one passed; what broke comes first."""
    old, new = version("1.9", 1), version("1.10", 9)
    results = [
        *whole_cell(old),
        result("state", Status.FAIL, of=old, minute=5),
        *whole_cell(new, correctness=Status.FAIL),
        result("state", of=new, minute=5),
        result("batch", Status.FAIL, of=new, minute=6),
    ]
    held = standing(results)
    squares = [shown(results)]
    ordered = releases.measured(held, squares, "alpha")
    assert [(one.id, one.colours) for one in ordered] == [("alpha-1.10", {"wrong": 1}), ("alpha-1.9", {})]
    (between,) = releases.between(held, ordered)
    assert (between.before, between.after) == ("alpha-1.9", "alpha-1.10")
    assert [(one.probe, one.before, one.after, one.mended) for one in between.moved] == [
        ("correctness", "PASS", "FAIL", False),
        ("state", "FAIL", "PASS", True),
    ]


def test_sections_have_the_newest_model_first_and_tiny_checkpoints_last() -> None:
    """A device on which only tiny ones run is for whoever looks at architectures."""
    plain = cell().model
    newer = msgspec.structs.replace(plain, id="newer", released=dt.date(2026, 1, 1))
    tiny = msgspec.structs.replace(plain, id="tiny-x", source=RecipeSource(recipe="x"))
    base = shown(whole_cell(cell()))
    squares = [
        base,
        msgspec.structs.replace(base, model="newer", channel="nightly"),
        msgspec.structs.replace(base, model="tiny-x", device="a-tiny"),
    ]
    found = views.sections(squares, {"small": plain, "newer": newer, "tiny-x": tiny})
    assert [(one.id, [row.model.id for row in one.rows]) for one in found] == [
        ("cpu", ["newer", "small"]),
        ("a-tiny", ["tiny-x"]),
    ]
    assert [column.name for column in found[0].columns] == ["alpha nightly", "alpha"]


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, None), (134_515_008, "135M"), (4_300_000_000, "4.3B"), (2_400_000_000_000, "2.4T"), (12, "12")],
)
def test_parameters_are_written_as_people_do(count: int | None, words: str | None) -> None:
    """Three digits."""
    assert views.parameters(count) == words


def test_the_best_square_of_an_engine_makes_its_badge() -> None:
    """On whatever device; an old one is grey."""
    base = shown(whole_cell(cell()))
    wrong = msgspec.structs.replace(base, level=2, level_name="runs", colour="wrong", device="gpu")
    best = badges.best([wrong, base])
    assert badges.endpoint(best)["message"] == "3 right on cpu"
    stale = msgspec.structs.replace(base, stale=True, age_nights=9)
    assert badges.endpoint(stale) == {
        "schemaVersion": 1, "label": "alpha", "message": "3 right on cpu, 9 nights old", "color": "#57606a",
    }  # fmt: skip
