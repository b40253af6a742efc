"""The site in a real browser, as readers meet it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browsing import Site

pytestmark = pytest.mark.browser

GOOD, BIG, ODD = "good-0.6b", "big-31b", "odd-4b"
CELL = f"alpha-1.0__{BIG}__cpu__default"
PAGES = ("index.html", "pass.html", "about.html", f"models/{GOOD}.html", "engines/alpha.html", f"cells/{CELL}.html")


@pytest.fixture
def reader(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, at a desk and with nothing in its logs; changed back after the test."""
    look(browser, 1280)
    for name in ("browser", "performance"):
        logs(browser, name)
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def look(browser: webdriver.Chrome, width: int, theme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})


def logs(browser: webdriver.Chrome, name: str) -> list[dict[str, Any]]:
    return list(browser.get_log(name))  # type: ignore[no-untyped-call] # selenium leaves this method untyped


def shown(reader: webdriver.Chrome) -> list[str]:
    """The models that can be seen, from the top."""
    names = reader.find_elements(By.CSS_SELECTOR, "table.grid tbody th a")
    return [name.text for name in names if name.is_displayed()]


def choose(reader: webdriver.Chrome, name: str, value: str) -> None:
    Select(reader.find_element(By.NAME, name)).select_by_value(value)


def test_every_square_says_level_version_speed_and_since_when(reader: webdriver.Chrome, site: Site) -> None:
    """A shape, a word, and what stands before the next level where it is not right."""
    reader.get(site.url)
    squares = {
        (row.find_element(By.TAG_NAME, "a").text, cell.get_attribute("data-column")): cell.text.splitlines()
        for row in reader.find_elements(By.CSS_SELECTOR, "table.grid tbody tr")
        for cell in row.find_elements(By.CSS_SELECTOR, "td[data-colour]")
    }
    assert squares[GOOD, "alpha"] == ["3 right", "1.0 · 31.5 tok/s", "since 2026-01-04"]
    assert squares[BIG, "alpha"][:3] == ["2 runs", "1.0 · 31.5 tok/s", "since 2026-01-08 was 3 right"]
    assert squares[BIG, "alpha"][3].startswith("correctness FAIL: because <it> & so")
    mark = reader.find_element(By.CSS_SELECTOR, "td.wrong .mark")
    content = reader.execute_script("return getComputedStyle(arguments[0], '::before').content", mark)
    assert content == '"✕"'
    assert shown(reader) == [BIG, GOOD, ODD]  # newest first, device by device


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("organisation", "Alpine", [GOOD, ODD]),
        ("licence", "MIT", [BIG]),
        ("kind", "moe", [BIG]),
        ("total", "1-8", [ODD]),
        ("active", "0-1", [GOOD, ODD]),
        ("device", "gpu", [ODD]),
        ("level", "3", [GOOD]),
        ("state", "wrong", [BIG, ODD]),
    ],
)
def test_a_filter_leaves_what_it_says_and_becomes_the_address(
    reader: webdriver.Chrome, site: Site, field: str, value: str, left: list[str]
) -> None:
    """And that address shows the same to whoever gets it."""
    reader.get(site.url)
    choose(reader, field, value)
    assert shown(reader) == left
    count = len(left)
    assert reader.find_element(By.ID, "count").text == f"{count} model{'' if count == 1 else 's'} shown"
    address = reader.current_url
    assert urlsplit(address).query == f"{field}={value}"
    reader.get("about:blank")
    reader.get(address)
    assert shown(reader) == left
    reader.find_element(By.CSS_SELECTOR, "#filters button").click()
    assert shown(reader) == [BIG, GOOD, ODD]


def test_search_sort_and_an_address_that_says_nonsense(reader: webdriver.Chrome, site: Site) -> None:
    """Every word must be found, in name, maker or class; what no field knows is left alone."""
    reader.get(f"{site.url}?organisation=Nobody&level=99&evil=%3Cscript%3E&q=ALPINE+odd")
    assert shown(reader) == [ODD]
    assert reader.find_element(By.NAME, "organisation").get_attribute("value") == ""
    reader.get(f"{site.url}?sort=name")
    assert shown(reader) == [BIG, GOOD, ODD]
    choose(reader, "sort", "level")
    assert shown(reader) == [GOOD, BIG, ODD]
    reader.find_element(By.NAME, "q").send_keys("nothing like it")
    assert shown(reader) == []
    notes = [note for note in reader.find_elements(By.CSS_SELECTOR, ".nothing") if note.is_displayed()]
    assert [note.text for note in notes] == ["No model here is left by these filters."] * 2


def test_without_scripts_everything_is_there(reader: webdriver.Chrome, site: Site) -> None:
    """Filters are hidden, since they would do nothing."""
    reader.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    reader.get(site.url)
    assert shown(reader) == [BIG, GOOD, ODD]
    assert not reader.find_element(By.ID, "filters").is_displayed()


def test_a_keyboard_reaches_the_evidence(reader: webdriver.Chrome, site: Site) -> None:
    """First the way past the menu; then from field to field, and Enter on a square opens its cell."""
    reader.get(site.url)
    reader.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert reader.switch_to.active_element.text == "To the content"
    square = reader.find_element(By.CSS_SELECTOR, "td.wrong a")
    for _ in range(40):
        reader.switch_to.active_element.send_keys(Keys.TAB)
        if reader.switch_to.active_element == square:
            break
    assert reader.switch_to.active_element == square
    outline = reader.execute_script("return getComputedStyle(arguments[0]).outlineStyle", square)
    assert outline == "solid"
    reader.switch_to.active_element.send_keys(Keys.ENTER)
    assert reader.find_element(By.TAG_NAME, "h1").text == f"{BIG} on alpha-1.0"


def test_a_cells_page_has_sentences_pictures_numbers_versions_log_and_the_command(
    reader: webdriver.Chrome, site: Site
) -> None:
    """One click from the square to everything; an engine's words cannot become markup."""
    reader.get(f"{site.url}cells/{CELL}.html")
    for closed in reader.find_elements(By.TAG_NAME, "summary"):
        closed.click()
    text = reader.find_element(By.TAG_NAME, "body").text
    for wanted in (
        "correctness FAIL", "because <it> & so", "prefill_ratio\n1.02", "last <words>", f"git checkout {'ab' * 20}",
        f".venv/bin/readiness run --profile nightly --launcher docker --select {CELL}", "serve 'a b'",
        "model revision\n" + "cd" * 32, "took\n3.0 minutes", "cost\n$0.10", "Traceback <b>",
    ):  # fmt: skip
        assert wanted in text
    assert not reader.find_elements(By.TAG_NAME, "b")
    told = [
        one.get_attribute("textContent") or "" for one in reader.find_elements(By.CSS_SELECTOR, "svg.chart > title")
    ]
    assert told[0].startswith("prefill: the engine's distance from the reference by position, in nats")
    assert "in 33% of the stretches" in told[0]
    assert len(reader.find_elements(By.CSS_SELECTOR, "svg.strip")) == 3


def test_a_models_page_says_which_engine_to_use(reader: webdriver.Chrome, site: Site) -> None:
    """With the command line, days to each level, and what each engine has shown."""
    reader.get(f"{site.url}models/{GOOD}.html")
    text = reader.find_element(By.ID, "content").text
    assert "alpha-1.0: 3 right" in text or "beta-1.0: 3 right" in text
    assert "serve 'a b'" in text
    assert "alpha before before before before – –" in text.replace("\n", " ")
    reader.get(f"{site.url}models/{BIG}.html")
    assert "None: no engine was shown to be right with it here." in reader.find_element(By.ID, "content").text


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(
    reader: webdriver.Chrome, site: Site, web_tools: Path, page: str, theme: str
) -> None:
    """axe-core, at a desk and on a phone: contrast, names, roles, order of headings."""
    checker = (web_tools / "axe-core" / "axe.min.js").read_text()
    for width in (1280, 360):
        look(reader, width, theme)
        reader.get(site.url + page)
        reader.execute_cdp_cmd("Runtime.evaluate", {"expression": checker})
        found = reader.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        broken = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]
        assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_scrolls_sideways_says_anything_on_the_console_or_asks_anybody_else(
    reader: webdriver.Chrome, site: Site, page: str
) -> None:
    """At 360, 768 and 1280 pixels; every request goes to the server of the site."""
    for width in (360, 768, 1280):
        look(reader, width)
        reader.get(site.url + page)
        wide = reader.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide[0] <= wide[1], (page, width)
    assert [entry["message"] for entry in logs(reader, "browser")] == []
    sent = [json.loads(entry["message"])["message"] for entry in logs(reader, "performance")]
    urls = [one["params"]["request"]["url"] for one in sent if one["method"] == "Network.requestWillBeSent"]
    assert urls and all(url.startswith(site.url) for url in urls)


def test_it_can_be_read_from_a_folder(reader: webdriver.Chrome, site: Site) -> None:
    """Whoever ran it on a laptop opens the file: style and filters work there too."""
    reader.get((site.folder / "index.html").as_uri())
    choose(reader, "state", "wrong")
    assert shown(reader) == [BIG, ODD]
    assert reader.execute_script("return getComputedStyle(document.body).margin") == "0px"
    assert [entry["message"] for entry in logs(reader, "browser")] == []


def test_an_old_page_says_so_by_the_readers_clock(reader: webdriver.Chrome, site: Site) -> None:
    """It cannot know that it is no longer made."""
    reader.get(site.url)
    alert = reader.find_element(By.ID, "old")
    assert alert.is_displayed() and alert.text.startswith("This page was made ")


def test_the_html_is_valid(site: Site, web_tools: Path) -> None:
    """By the W3C's checker, every page."""
    jar = web_tools / "vnu-jar" / "build" / "dist" / "vnu.jar"
    pages = [site.url + page for page in PAGES]
    on_loopback = "-Dnu.validator.servlet.allow-forbidden-hosts=true"
    command = ("java", on_loopback, "-jar", str(jar), "--stdout", "--format", "text", *pages)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("Document checking completed. No errors found.\n", 0)
