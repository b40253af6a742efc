"""The grid in a terminal and as a page in a real browser."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from matrix.results import Status
from reports import render
from reports.grid import grid
from tests.reports.samples import cell, whole_cell

MADE_AT = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)


def test_the_terminal_grid_shows_status_number_and_sentence() -> None:
    """One line an engine, one sentence a probe."""
    console = Console(width=160, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render.terminal(grid(whole_cell(cell(), correctness=Status.FAIL))))
    text = capture.get()
    rows = [[word.strip() for word in line.split("│")[2:5]] for line in text.splitlines() if "│" in line]
    assert rows[:2] == [["PASS", "FAIL", "PASS"], ["12 s", "1.02 x noise", "31.5 tokens/s"]]
    assert "alpha-1.0__small__cpu__default correctness: FAIL: because <it> & so" in text


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
def test_the_page_shows_every_square_and_escapes_what_engines_say(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """A reader sees statuses as text, and an engine's words cannot become markup."""
    results = whole_cell(cell("alpha")) + whole_cell(cell("beta"), correctness=Status.FAIL)
    page = render.write_site(grid(results), tmp_path, made_at=MADE_AT, problems=("x.json: damaged",))
    browser.get(page.as_uri())
    rows = [row.text.replace("\n", " ") for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert rows == [
        "alpha-1.0 official cpu 3 right PASS 12 s PASS 1.02 x noise PASS 31.5 tokens/s",
        "beta-1.0 official cpu 2 runs PASS 12 s FAIL 1.02 x noise PASS 31.5 tokens/s",
    ]
    assert browser.find_element(By.CSS_SELECTOR, "[role=alert]").text == "unreadable x.json: damaged"
    for summary in browser.find_elements(By.TAG_NAME, "summary"):
        if summary.is_displayed():
            summary.click()
    assert "because <it> & so" in browser.find_element(By.TAG_NAME, "body").text
    assert not browser.find_elements(By.TAG_NAME, "b")
    # selenium types this method loosely
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert severe == []
