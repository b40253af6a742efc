"""How soon the first page can be used, in headless Chromium, from a server on loopback."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from matrix.cells import Record
from tests.browsing import driven, serving

LOADS = 7

LOADED = 'return performance.getEntriesByType("navigation")[0].loadEventEnd'
"""Milliseconds from the start of the navigation until everything is there and scripts have run."""

FILTERED = """
const search = document.querySelector("#filters input[type=search]"), began = performance.now();
search.value = arguments[0];
search.dispatchEvent(new Event("input", {bubbles: true}));
document.body.getBoundingClientRect();
const left = [...document.querySelectorAll("table.grid tbody tr")].filter((row) => !row.hidden).length;
return [performance.now() - began, left];
"""


class Loading(Record, frozen=True, kw_only=True):
    """Of several loads, each with an empty cache."""

    interactive_s: tuple[float, ...]
    filter_s: tuple[float, ...]
    """One word in the search, until the page is laid out anew."""

    def __str__(self) -> str:
        """For people."""
        return f"{_said(self.interactive_s)}; a search {_said(self.filter_s)}"


def loading(site: Path) -> Loading:
    """Load the first page and search it; raises RuntimeError where there is no browser or the search found none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise RuntimeError("Chromium or its driver is not installed")
    interactive, filtered = [], []
    with serving(site) as served, driven(Path(chromium), Path(driver)) as browser:
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        for number in range(LOADS):
            browser.get(f"{served.url}index.html")
            interactive.append(float(browser.execute_script(LOADED)) / 1000.0)
            took, left = browser.execute_script(FILTERED, f"model-0{number}")
            if left != 1:
                raise RuntimeError(f"the search left {left} models")
            filtered.append(float(took) / 1000.0)
    return Loading(interactive_s=tuple(interactive), filter_s=tuple(filtered))


def _said(values: tuple[float, ...]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
