"""A browser, the site on a real server, and what pages are held against."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from selenium import webdriver

from reports import store
from tests.browsing import Site, driven, serving
from tests.conftest import ROOT, absent
from tests.reports.site.nights import a_week, publish

WEB = ROOT / "tests" / "web"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A week of nights, published and served on loopback."""
    folder = tmp_path_factory.mktemp("week")
    a_week(folder / "results")
    with store.opened(folder / "results") as found:
        publish(found, folder / "site")
    with serving(folder / "site") as served:
        yield served


@pytest.fixture(scope="session")
def browser(chromium: tuple[Path, Path]) -> Iterator[webdriver.Chrome]:
    with driven(*chromium) as found:
        yield found


@pytest.fixture(scope="session")
def web_tools() -> Path:
    """Where the accessibility checker and the validator lie, installed by their lock file."""
    if shutil.which("npm") is None or shutil.which("java") is None:
        absent("browser", "npm or Java", "install Node.js and a Java runtime")
    modules = WEB / "node_modules"
    with FileLock(WEB / "node_modules.lock"):  # tests may run side by side
        if not (modules / ".package-lock.json").is_file():
            subprocess.run(("npm", "ci", "--ignore-scripts"), cwd=WEB, check=True, capture_output=True, timeout=300)
    return modules
