"""What models and engines control is shown as text, short, and without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from matrix.results import LOG_TAIL, Status, write_bytes
from reports import store
from reports.site import build, charts
from reports.site.gather import gather
from tests.browsing import serving
from tests.reports.samples import cell, result
from tests.reports.site.nights import NOW, publish, put

TOKEN = "hf_" + "Ab1" * 12
EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"></svg>\"' onfocus=document.title='owned' autofocus x='"
    f"\x1b[31m\u202etxt.exe {TOKEN} https://user:pa55word@host/ javascript:alert(1) {{{{ 7*7 }}}}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results in which everything that an engine or a model says is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    plain = cell()
    model = msgspec.structs.replace(
        plain.model, architecture=EVIL, organisation=EVIL, licence=EVIL, country=EVIL, note=EVIL,
        parameters_total=1_000_000_000,
    )  # fmt: skip
    of = msgspec.structs.replace(plain, model=model)
    bad = result("correctness", Status.FAIL, of=of, reason=EVIL + "x" * 10_000_000)
    verdict = msgspec.structs.replace(
        bad.verdict, evidence={EVIL: EVIL + "y" * 10_000_000}, numbers={"prefill_ratio": 1.0}, expected_reason=EVIL
    )
    provenance = msgspec.structs.replace(bad.provenance, engine_version=EVIL, machine=EVIL)
    bad = msgspec.structs.replace(bad, verdict=verdict, provenance=provenance)
    put(folder / "results", "1", 1, [result("loading", of=of), bad])
    put(folder / "results", "2", 0, [result("loading", of=of), bad])
    for log in (folder / "results").glob(f"*/*/{LOG_TAIL}"):
        write_bytes(log, EVIL.encode() + b"\n" + b"z" * 10_000_000)
    with store.opened(folder / "results") as found:
        publish(found, folder / "site")
    return folder


def test_no_secret_and_no_control_character_is_stored_or_published(folder: Path) -> None:
    """Neither in results nor in any file of the site; the log's end was kept by somebody else's program."""
    site = [path for path in (folder / "site").rglob("*") if path.is_file()]
    kept = list((folder / "results").rglob("*.result.json"))
    assert len(site) >= 20 and len(kept) == 4
    for path in [*site, *kept]:
        content = path.read_bytes()
        for secret in (TOKEN.encode(), b"pa55word", b"\x1b[", "\u202e".encode(), b"\\u001b"):
            assert secret not in content, (path, secret)


def test_ten_million_characters_become_a_page_that_can_be_read(folder: Path) -> None:
    """In the sentence, in evidence, in the log."""
    sizes = {
        path.name: path.stat().st_size for path in (folder / "site").rglob("*") if path.suffix in (".html", ".json")
    }
    assert max(sizes.values()) < 400_000
    assert sizes["index.html"] < 20_000


@pytest.mark.browser
@pytest.mark.parametrize("page", ["index", "models/small", "engines/alpha", f"cells/{cell().id}", "about"])
def test_no_script_of_theirs_runs(browser: webdriver.Chrome, folder: Path, page: str) -> None:
    """Whatever they write stays text; and if it did not, the page's policy would not run it."""
    with serving(folder / "site") as site:
        browser.get(f"{site.url}{page}.html")
        assert browser.title != "owned"
        assert browser.find_element(By.TAG_NAME, "h1")
        assert not browser.find_elements(By.CSS_SELECTOR, "img, [onload], [onerror], [onfocus], [autofocus]")
        scripts = browser.execute_script("return [...document.scripts].map((one) => one.getAttribute('src'))")
        assert set(scripts) <= {"static/grid.js"}
        browser.execute_script(
            "const one = document.createElement('script'); one.textContent = \"document.title = 'owned'\";"
            "document.body.append(one)"
        )
        assert browser.title != "owned"


def test_words_in_a_picture_are_text() -> None:
    """svg.py escapes nothing by itself."""
    drawn = charts.distributions({"<script>": [1.0, 2.0]}, "ms & s", "Times <b>.")
    assert drawn is not None
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn
    assert "ms &amp; s" in drawn and "Times &lt;b&gt;." in drawn


def test_a_name_that_no_cell_can_have_is_no_page(tmp_path: Path) -> None:
    """A result whose place says otherwise is set aside, so that no page lies outside the site."""
    put(tmp_path / "results", "1", 0, [result()])
    path = next((tmp_path / "results").glob("*/*/loading.result.json"))
    document = json.loads(path.read_text())
    document["cell"]["model"]["id"] = "../../../evil"
    path.write_text(json.dumps(document))
    with store.opened(tmp_path / "results") as found:
        shown = gather(found, made_at=NOW)
        build.write(shown, found, tmp_path / "site")
    assert not shown.squares and len(shown.problems) == 1
    assert not list((tmp_path / "site" / "models").glob("*")) if (tmp_path / "site" / "models").exists() else True
