"""What the site says of several nights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from matrix.results import Status, write_result
from reports import proofs, store, summary
from reports.site.gather import gather, grouped
from reports.store import Store
from tests.reports.samples import cell, night, result, whole_cell
from tests.reports.site.nights import NOW, plan, publish, put

OLD, WRONG, RETRIED, ABSENT = (cell(name) for name in ("old", "wrong", "retried", "absent"))


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Store]:
    """Five nights: an old square, one that is wrong, one that could not be measured tonight, and a night of nothing."""
    results = tmp_path / "results"
    plan(results, "1", 8, OLD.id, WRONG.id)
    put(results, "1", 8, [*whole_cell(OLD), *whole_cell(WRONG)])
    plan(results, "2", 2, OLD.id)
    plan(results, "3", 1, RETRIED.id)
    put(results, "3", 1, whole_cell(RETRIED))
    plan(results, "4", 0, WRONG.id, RETRIED.id, ABSENT.id)
    grey = [result(probe, Status.ERROR, of=RETRIED, reason="the disk is full") for probe in ("loading", "correctness")]
    put(results, "4", 0, [*whole_cell(WRONG, correctness=Status.FAIL), *grey])
    with store.opened(results) as found:
        yield found


def test_grid_json_says_what_the_page_says(nights: Store, tmp_path: Path) -> None:
    """Levels, ages and reasons for whoever reads it with a program."""
    publish(nights, tmp_path / "site")
    found = json.loads((tmp_path / "site" / "grid.json").read_text())
    squares = {s["release"]: (s["level"], s["colour"], s["age_nights"], s["stale"]) for s in found["squares"]}
    assert squares == {
        "old-1.0": (3, "right", 8, True),
        "retried-1.0": (3, "right", 1, False),
        "wrong-1.0": (2, "wrong", 0, False),
    }
    assert found["alerts"] == [f"Did not report in the night of 2026-01-10: {ABSENT.id}"]
    assert [(night["day"], night["decided"]) for night in found["nights"]][:5] == [
        ("2026-01-10", 1), ("2026-01-09", 1), ("2026-01-08", 0), ("2026-01-07", 0), ("2026-01-06", 0),
    ]  # fmt: skip


def test_what_a_pass_means_is_a_page_with_the_mutation_score_of_every_architecture(
    nights: Store, tmp_path: Path
) -> None:
    """And grid.json holds the same figures."""
    publish(nights, tmp_path / "site")
    score = proofs.mutation_score()
    page = (tmp_path / "site" / "pass.html").read_text()
    assert f"{score.mutants} faults of {score.operators} kinds" in page
    assert all(f">{found.killed} of {found.mutants}</td>" in page for found in score.checkpoints.values())
    assert all(found.architecture in page and name in page for name, found in score.checkpoints.items())
    assert '<a href="pass.html">' in (tmp_path / "site" / "index.html").read_text()
    published = json.loads((tmp_path / "site" / "grid.json").read_text())["mutation_score"]
    assert msgspec.convert(published, proofs.MutationScore) == score


def test_what_a_pass_means_names_the_faults_that_are_found_and_those_that_are_not(
    nights: Store, tmp_path: Path
) -> None:
    """By size in bfloat16, with a picture a model; and by probe, of those that others reported."""
    publish(nights, tmp_path / "site")
    page = (tmp_path / "site" / "pass.html").read_text()
    power, coverage = proofs.verdict_power(), proofs.fault_coverage()
    assert page.count("<svg") == len(power.models) == 2
    assert all(f"{name}, {len(model.faults)} faults." in page for name, model in power.models.items())
    assert f"{coverage.caught} of {coverage.faults} faults" in page
    assert all(f">{one.caught} of {one.faults}</td>" in page for one in coverage.probes.values())
    published = json.loads((tmp_path / "site" / "grid.json").read_text())
    assert msgspec.convert(published["fault_coverage"], proofs.FaultCoverage) == coverage
    assert msgspec.convert(published["verdict_power"], proofs.VerdictPower) == power


def test_the_summary_for_a_job_page_names_what_is_old_wrong_or_missing(nights: Store) -> None:
    """The same, as Markdown."""
    text = summary.grid(gather(nights, made_at=NOW))
    assert f"> **Did not report in the night of 2026-01-10: {ABSENT.id}**" in text
    squares = (
        "🟢 3 right (1.0), **8 nights old**",
        "🟢 3 right (1.0), 1 night old",
        "🔴 2 runs (1.0)<br>correctness FAIL",
    )
    assert f"| small | {' | '.join(squares)}" in text
    assert "- 2026-01-08: no results, though 1 cell was planned" in text
    assert "- left out: `old-1.0__small__gpu__default`: no runner for gpu" in text


def test_files_that_are_unreadable_for_the_same_reason_are_one_line() -> None:
    """A program with a new schema finds all older results at once."""
    found = grouped(["a: schema version 1", "b: not JSON: at 3", "c: schema version 1", "d: schema version 1"])
    assert found == ["a and 2 others: schema version 1", "b: not JSON: at 3"]


def test_a_step_in_speed_is_said_on_the_first_page_on_the_cells_and_in_grid_json(tmp_path: Path) -> None:
    """Four nights at 40, four at 30 with another release: either page says since when, and what changed."""
    for number in range(8):
        made = night(number, 40.0 if number < 4 else 30.0, version="1.0" if number < 4 else "1.1")
        write_result(tmp_path / "results" / f"run-{number}", made)
    folder = tmp_path / "site"
    with store.opened(tmp_path / "results") as found:
        publish(found, folder)
    sentence = "regression since 2026-01-05: \N{MINUS SIGN}25% (engine: 1.0 to 1.1; engine says: 1.0 to 1.1)"
    assert f"<li>small on alpha (stable, cpu), D1: {sentence}</li>" in (folder / "index.html").read_text()
    assert f"<li>D1: {sentence}</li>" in (folder / "cells" / "alpha-1.1__small__cpu__default.html").read_text()
    (told,) = json.loads((folder / "grid.json").read_text())["speed_changes"]
    assert (told["change"]["kind"], told["change"]["day"], told["series"]["shape"]) == (
        "regression",
        "2026-01-05",
        "D1",
    )


def test_a_night_without_results_is_the_first_thing_said(tmp_path: Path) -> None:
    """Squares of yesterday do not pass for those of tonight."""
    plan(tmp_path, "1", 1, OLD.id)
    put(tmp_path, "1", 1, whole_cell(OLD))
    plan(tmp_path, "2", 0, OLD.id)
    with store.opened(tmp_path) as found:
        shown = gather(found, made_at=NOW)
    assert [night.lacking for night in shown.nights[:2]] == [True, False]
    assert shown.alerts == [
        "The night of 2026-01-10 decided nothing; the squares are older. (no results, though 1 cell was planned)"
    ]


def test_a_night_for_which_nothing_was_planned_says_so(tmp_path: Path) -> None:
    """Every device may be without a runner, or nothing has changed: that is no fault."""
    plan(tmp_path, "1", 0)
    with store.opened(tmp_path) as found:
        shown = gather(found, made_at=NOW)
        publish(found, tmp_path / "site")
    tonight = shown.nights[0]
    assert (tonight.sentence, tonight.lacking, shown.alerts) == ("no results, and nothing was planned", False, [])
    assert 'class="lacking"' not in (tmp_path / "site" / "index.html").read_text()


def test_a_suspected_reference_is_a_grey_square_with_its_reason(tmp_path: Path) -> None:
    """On the page, in grid.json and on the job's page: neither red nor green, and no draft of a bug."""
    doubt = result("correctness", Status.REF_SUSPECT, of=WRONG, reason="alpha and beta agree", minute=1)
    put(tmp_path / "results", "1", 0, [result("loading", of=WRONG), doubt])
    with store.opened(tmp_path / "results") as found:
        publish(found, tmp_path / "site")
        told = summary.grid(gather(found, made_at=NOW))
    (square,) = json.loads((tmp_path / "site" / "grid.json").read_text())["squares"]
    assert (square["level"], square["colour"], square["statuses"][WRONG.id]["correctness"]) == (
        2,
        "grey",
        "REF-SUSPECT",
    )
    page = (tmp_path / "site" / "index.html").read_text()
    assert '<td class="grey"' in page
    assert '<span class="why">correctness REF-SUSPECT: alpha and beta agree</span>' in page
    assert "⚪ 2 runs (1.0)<br>correctness REF-SUSPECT: alpha and beta agree" in told
