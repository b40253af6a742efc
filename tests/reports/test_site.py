"""The site from result files of several nights, in a real browser."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from matrix.plan import Night
from matrix.results import LOG_TAIL, Result, Status, write_bytes, write_json, write_result
from reports import mutation, site, store, summary
from tests.reports.samples import cell, night, result, whole_cell

NOW = dt.datetime(2026, 1, 10, 6, 0, tzinfo=dt.UTC)

OLD, WRONG, RETRIED, ABSENT = (cell(name) for name in ("old", "wrong", "retried", "absent"))


def put(results: Path, night: str, nights_ago: int, found: list[Result]) -> None:
    """Store results as a nightly run of some nights ago."""
    for number, one in enumerate(found):
        started_at = NOW - dt.timedelta(days=nights_ago, minutes=60 - number)
        provenance = msgspec.structs.replace(
            one.provenance, run_id=f"run-{night}", night=night, started_at=started_at, profile="nightly",
            launcher="docker", command=("serve", "a b"), harness_version=f"0.1.0+{'ab' * 20}",
        )  # fmt: skip
        write_result(results / f"run-{night}", msgspec.structs.replace(one, provenance=provenance))
        write_bytes(results / f"run-{night}" / one.cell_id / LOG_TAIL, b"last <words>\n")


def plan(results: Path, night: str, nights_ago: int, *cells: str) -> None:
    planned_at = NOW - dt.timedelta(days=nights_ago, hours=2)
    left_out = {"old-1.0__small__gpu__default": "no runner for gpu"}
    record = Night(night=night, planned_at=planned_at, profile="nightly", cells=cells, left_out=left_out)
    write_json(results / f"{night}.night.json", record)


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[store.Store]:
    """Five nights: an old square, one that is wrong, one that could not be measured tonight, and a night of nothing."""
    results = tmp_path / "results"
    plan(results, "1", 4, OLD.id, WRONG.id)
    put(results, "1", 4, [*whole_cell(OLD), *whole_cell(WRONG)])
    plan(results, "2", 2, OLD.id)
    plan(results, "3", 1, RETRIED.id)
    put(results, "3", 1, whole_cell(RETRIED))
    plan(results, "4", 0, WRONG.id, RETRIED.id, ABSENT.id)
    grey = [result(probe, Status.ERROR, of=RETRIED, reason="the disk is full") for probe in ("loading", "correctness")]
    put(results, "4", 0, [*whole_cell(WRONG, correctness=Status.FAIL), *grey])
    with store.opened(results) as found:
        yield found


def test_grid_json_says_what_the_page_says(nights: store.Store, tmp_path: Path) -> None:
    """Levels, ages and reasons for whoever reads it with a program."""
    site.write(nights, tmp_path / "site", made_at=NOW)
    found = json.loads((tmp_path / "site" / "grid.json").read_text())
    squares = {s["release"]: (s["level"], s["colour"], s["age_nights"], s["stale"]) for s in found["squares"]}
    assert squares == {
        "old-1.0": (3, "right", 4, True),
        "retried-1.0": (3, "right", 1, False),
        "wrong-1.0": (2, "wrong", 0, False),
    }
    assert found["alerts"] == [f"Did not report in the night of 2026-01-10: {ABSENT.id}"]
    assert [(night["day"], night["decided"]) for night in found["nights"]][:5] == [
        ("2026-01-10", 1), ("2026-01-09", 1), ("2026-01-08", 0), ("2026-01-07", 0), ("2026-01-06", 2),
    ]  # fmt: skip


def test_what_a_pass_means_is_a_page_with_the_mutation_score_of_every_architecture(
    nights: store.Store, tmp_path: Path
) -> None:
    """And grid.json holds the same figures."""
    site.write(nights, tmp_path / "site", made_at=NOW)
    score = mutation.measured()
    page = (tmp_path / "site" / "pass.html").read_text()
    assert f"{score.mutants} faults of {score.operators} kinds" in page
    assert all(f"<td>{found.killed} of {found.mutants}</td>" in page for found in score.checkpoints.values())
    assert all(found.architecture in page and name in page for name, found in score.checkpoints.items())
    assert '<a href="pass.html">' in (tmp_path / "site" / "index.html").read_text()
    published = json.loads((tmp_path / "site" / "grid.json").read_text())["mutation_score"]
    assert msgspec.convert(published, mutation.MutationScore) == score


def test_the_summary_for_a_job_page_names_what_is_old_wrong_or_missing(nights: store.Store) -> None:
    """The same, as Markdown."""
    text = summary.grid(site.page(nights, made_at=NOW))
    assert f"> **Did not report in the night of 2026-01-10: {ABSENT.id}**" in text
    squares = (
        "🟢 3 right (1.0), **4 nights old**",
        "🟢 3 right (1.0), 1 night old",
        "🔴 2 runs (1.0)<br>correctness FAIL",
    )
    assert f"| small | {' | '.join(squares)}" in text
    assert "- 2026-01-08: no results, though 1 cell was planned" in text
    assert "- left out: `old-1.0__small__gpu__default`: no runner for gpu" in text


def test_files_that_are_unreadable_for_the_same_reason_are_one_line() -> None:
    """A program with a new schema finds all older results at once."""
    found = site.gathered(["a: schema version 1", "b: not JSON: at 3", "c: schema version 1", "d: schema version 1"])
    assert found == ["a and 2 others: schema version 1", "b: not JSON: at 3"]


def test_a_step_in_speed_is_said_on_the_first_page_on_the_cells_and_in_grid_json(tmp_path: Path) -> None:
    """Four nights at 40, four at 30 with another release: either page says since when, and what changed."""
    for number in range(8):
        made = night(number, 40.0 if number < 4 else 30.0, version="1.0" if number < 4 else "1.1")
        write_result(tmp_path / "results" / f"run-{number}", made)
    folder = tmp_path / "site"
    with store.opened(tmp_path / "results") as found:
        site.write(found, folder, made_at=NOW)
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
        said = site.page(found, made_at=NOW).alerts
    assert said == [
        "The night of 2026-01-10 decided nothing; the squares are older. (no results, though 1 cell was planned)"
    ]


def test_a_night_for_which_nothing_was_planned_says_so(tmp_path: Path) -> None:
    """Every device may be without a runner."""
    plan(tmp_path, "1", 0)
    with store.opened(tmp_path) as found:
        tonight = site.page(found, made_at=NOW).nights[0]
    assert tonight.sentence == "no results, and nothing was planned"


def test_a_suspected_reference_is_a_grey_square_with_its_reason(tmp_path: Path) -> None:
    """On the page, in grid.json and on the job's page: neither red nor green, and no draft of a bug."""
    doubt = result("correctness", Status.REF_SUSPECT, of=WRONG, reason="alpha and beta agree", minute=1)
    put(tmp_path / "results", "1", 0, [result("loading", of=WRONG), doubt])
    with store.opened(tmp_path / "results") as found:
        site.write(found, tmp_path / "site", made_at=NOW)
        told = summary.grid(site.page(found, made_at=NOW))
    (square,) = json.loads((tmp_path / "site" / "grid.json").read_text())["squares"]
    assert (square["level"], square["colour"], square["statuses"][WRONG.id]["correctness"]) == (
        2,
        "grey",
        "REF-SUSPECT",
    )
    page = (tmp_path / "site" / "index.html").read_text()
    assert '<td class="square grey">' in page
    assert "before level 3, right: correctness REF-SUSPECT: alpha and beta agree" in page
    assert "⚪ 2 runs (1.0)<br>correctness REF-SUSPECT: alpha and beta agree" in told


@pytest.fixture
def browser(chromium: tuple[Path, Path]) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium[0])
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(str(chromium[1])))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.mark.browser
def test_a_reader_sees_every_square_its_age_and_what_blocks_it(
    browser: webdriver.Chrome, nights: store.Store, tmp_path: Path
) -> None:
    """The grid in a browser: level in words, fading by age, and a link to the evidence."""
    browser.get(site.write(nights, tmp_path / "site", made_at=NOW).as_uri())
    squares = [square.text.splitlines() for square in browser.find_elements(By.CSS_SELECTOR, "td.square")]
    assert [lines[:2] for lines in squares] == [
        ["● 3 right", "4 nights old, 2026-01-06"], ["● 3 right", "1 night old, 2026-01-09"], ["✕ 2 runs", "tonight"],
    ]  # fmt: skip
    assert "before level 3, right: correctness FAIL: because <it> & so" in squares[2]
    assert "No newer answer: loading ERROR: the disk is full" in squares[1]
    faded = browser.find_elements(By.CSS_SELECTOR, "td.stale")
    assert [square.text.splitlines()[0] for square in faded] == ["● 3 right"]
    assert browser.find_element(By.ID, "old").is_displayed()  # the page says that it is not of today
    browser.find_elements(By.LINK_TEXT, "evidence")[2].click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "wrong-1.0 · small"
    # selenium types this method loosely
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert severe == []


@pytest.mark.browser
def test_a_cells_page_has_sentences_numbers_versions_log_and_the_command(
    browser: webdriver.Chrome, nights: store.Store, tmp_path: Path
) -> None:
    """One click from the square to everything; an engine's words cannot become markup."""
    site.write(nights, tmp_path / "site", made_at=NOW)
    browser.get((tmp_path / "site" / site.cell_page(WRONG.id)).as_uri())
    for closed in browser.find_elements(By.TAG_NAME, "summary"):
        closed.click()
    text = browser.find_element(By.TAG_NAME, "body").text
    for wanted in (
        "correctness FAIL\nbecause <it> & so", "prefill_ratio\n1.02", "last <words>", f"git checkout {'ab' * 20}",
        f".venv/bin/readiness run --profile nightly --launcher docker --select {WRONG.id}", "serve 'a b'",
        "model revision\n" + "cd" * 32,
    ):  # fmt: skip
        assert wanted in text
    assert not browser.find_elements(By.TAG_NAME, "b")
