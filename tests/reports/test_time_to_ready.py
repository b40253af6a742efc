"""The page of the time machine."""

from __future__ import annotations

import datetime as dt

import msgspec
from msgspec.structs import replace

from matrix.cells import Cell, RecipeSource
from matrix.chronicle import Appearance, Chronicle, Moment
from matrix.results import Result, Status
from reports import time_to_ready
from reports.chronicles import Chronicles
from reports.grid import grid
from reports.standing import standing
from tests.reports.samples import cell, result, whole_cell

DAYS = {"0.8": 1, "0.9": 11, "1.0": 21, "1.1": 31}


def tiny(version: str, name: str = "tiny-x", build: str = "official") -> Cell:
    plain = cell("alpha", config="float32")
    release = msgspec.structs.replace(plain.release, version=version, build=build)
    model = msgspec.structs.replace(
        plain.model, id=name, source=RecipeSource(recipe="x"), architecture=f"{name.upper()}ForCausalLM"
    )
    return msgspec.structs.replace(plain, release=release, model=model)


def known(**untried: str) -> Chronicles:
    moments = tuple(
        Moment(release=f"alpha-{version}", released=dt.date(2026, 1, day), untried=untried.get(f"v{version[-1]}", ""))
        for version, day in DAYS.items()
    )
    chronicle = Chronicle(
        engine="alpha", distribution="alpha-cpu", dated_by="alpha", since=dt.date(2026, 1, 1),
        until=dt.date(2026, 2, 10), moments=moments,
    )  # fmt: skip
    names = ("TINY-X", "TINY-Y")
    came = [Appearance(architecture=f"{n}ForCausalLM", version="5.1", released=dt.date(2025, 12, 31)) for n in names]
    return Chronicles(engines=(chronicle,), appearances={one.architecture: one for one in came}, problems=())


def page(results: list[Result], chronicles: Chronicles) -> str:
    found = time_to_ready.waits(grid(standing(results), every_release=True), chronicles)
    return time_to_ready.render(found, chronicles, made_at=dt.datetime(2026, 2, 10, tzinfo=dt.UTC))


def control(version: str, build: str = "official") -> list[Result]:
    """Something that a release runs rightly, so that it can tell."""
    return whole_cell(tiny(version, "tiny-y", build))


def test_days_count_from_the_class_to_the_first_right_release() -> None:
    """Wrong in 0.9, right in 1.0: twenty-one days after its class came; what was not tried is named."""
    results = [
        *control("0.9"), *whole_cell(tiny("0.9"), correctness=Status.FAIL), *control("1.0"), *whole_cell(tiny("1.0")),
    ]  # fmt: skip
    text = page(results, known(v8="it cannot be installed", v1="it cannot be installed"))
    assert "| `TINY-XForCausalLM` | tiny-x | 5.1, 2025-12-31 | 21 |" in text
    assert "| `TINY-YForCausalLM` | tiny-y | 5.1, 2025-12-31 | at most 11 |" in text
    assert "| checkpoint | 0.9<br>01-11 | 1.0<br>01-21 |" in text
    assert "| tiny-x | x | + |" in text
    assert "- Not tried: alpha-0.8, alpha-1.1: it cannot be installed" in text
    assert "`alpha-cpu`, 2 of 4 releases from 2026-01-01 to 2026-02-10, by the days of `alpha`." in text


def test_a_release_in_between_that_was_not_tried_makes_an_interval_and_a_loss_is_named() -> None:
    """Wrong in 0.8, nobody knows of 0.9, right in 1.0, wrong again in 1.1."""
    results = [one for version in ("0.8", "1.0", "1.1") for one in control(version)]
    for version, status in (("0.8", Status.FAIL), ("1.0", Status.PASS), ("1.1", Status.FAIL)):
        results += whole_cell(tiny(version), correctness=status)
    assert "| 11 to 21, not in alpha-1.1 |" in page(results, known())


def test_releases_of_transformers_before_a_class_came_lack_it() -> None:
    """Tried or not: the class came with 0.9, which was not tried; 1.0 is right."""
    (chronicle,) = (found := known()).engines
    names = {one: replace(came, released=dt.date(2026, 1, 11)) for one, came in found.appearances.items()}
    dated = replace(found, engines=(replace(chronicle, distribution="transformers"),), appearances=names)
    assert "| 0 to 10 |" in page([*control("1.0"), *whole_cell(tiny("1.0"))], dated)
    assert "| at most 10 |" in page([*control("1.0"), *whole_cell(tiny("1.0"))], replace(found, appearances=names))


def test_a_rebuild_that_errs_tells_nothing_but_that_a_class_is_lacking() -> None:
    """Somebody else's build may err by itself."""
    wrong = [*control("0.8", "third-party"), *whole_cell(tiny("0.8", build="third-party"), correctness=Status.FAIL)]
    right = [*control("0.9", "third-party"), *whole_cell(tiny("0.9", build="third-party"))]
    assert "| at most 11 |" in page([*wrong, *right], known()).split("tiny-x |")[1]
    unknown = "does not know the architecture: X is not supported"
    lacks = result("loading", Status.FAIL, of=tiny("0.8", build="third-party"), reason=unknown)
    told = page([*control("0.8", "third-party"), lacks, *right], known())
    assert "5.1, 2025-12-31 | 11 |" in told
    assert "| tiny-x | 0 | + |" in told


def test_a_release_of_which_nothing_is_right_tells_nothing_of_its_engine() -> None:
    """This project's file may not fit it."""
    results = [*whole_cell(tiny("0.8"), correctness=Status.FAIL), *control("0.9"), *whole_cell(tiny("0.9"))]
    text = page(results, known())
    assert "| at most 11 |" in text
    assert "0.8<br>" not in text
    others = {"v0": "it cannot be installed", "v1": "it cannot be installed"}
    assert "tell nothing of the engine: alpha-0.8\n" in page(results, known(**others))
