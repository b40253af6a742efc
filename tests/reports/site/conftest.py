"""A browser, the site on a real server, and what pages are held against."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from reports import store
from tests.conftest import ROOT, absent
from tests.reports.site.nights import a_week, publish

WEB = ROOT / "tests" / "web"


class Site:
    """A published site: its folder and its address."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A week of nights, published and served on loopback."""
    folder = tmp_path_factory.mktemp("week")
    a_week(folder / "results")
    with store.opened(folder / "results") as found:
        publish(found, folder / "site")
    with serving(folder / "site") as served:
        yield served


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are no news."""


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """A real HTTP server of a folder, on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Site(folder, f"http://127.0.0.1:{server.server_address[1]}/")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def browser(chromium: tuple[Path, Path]) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium[0])
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(chromium[1])))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def web_tools() -> Path:
    """Where the accessibility checker and the validator lie, installed by their lock file."""
    if shutil.which("npm") is None or shutil.which("java") is None:
        absent("browser", "npm or Java", "install Node.js and a Java runtime")
    modules = WEB / "node_modules"
    if not (modules / ".package-lock.json").is_file():
        subprocess.run(("npm", "ci", "--ignore-scripts"), cwd=WEB, check=True, capture_output=True, timeout=300)
    return modules
