"""JUnit XML from results."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import msgspec

from matrix.results import Status
from reports import junit
from tests.reports.samples import cell, result, whole_cell


def test_a_suite_a_cell_and_a_case_a_probe() -> None:
    """The structure that CI systems read."""
    root = ElementTree.fromstring(junit.render(whole_cell(cell("alpha")) + whole_cell(cell("beta"))))
    suites = {suite.get("name"): [case.get("name") for case in suite.iter("testcase")] for suite in root}
    assert suites == {
        "alpha-1.0__small__cpu__default": ["loading", "correctness", "throughput"],
        "beta-1.0__small__cpu__default": ["loading", "correctness", "throughput"],
    }


def test_versions_and_digests_are_properties() -> None:
    """A reader of the XML alone can tell what was measured."""
    one = result("correctness", minute=1)
    provenance = msgspec.structs.replace(result().provenance, requirements_sha256=None)
    before = msgspec.structs.replace(result(), provenance=provenance)  # no engine was up yet
    one = msgspec.structs.replace(one, provenance=msgspec.structs.replace(one.provenance, driver="580.1"))
    root = ElementTree.fromstring(junit.render([before, one]))
    properties = {item.get("name"): item.get("value") for item in root.iter("property")}
    assert properties["engine_version"] == "1.0"
    assert properties["requirements_sha256"] == "ab" * 32
    assert properties["model_digest"] == "cd" * 32
    assert properties["driver"] == "580.1"
    assert "image_digest" not in properties


def test_each_status_has_its_element() -> None:
    """Engine's fault: failure; ours: error; neither decided nor run: skipped; foreseen: skipped."""
    results = [
        result("a", Status.FAIL),
        result("b", Status.CRASH),
        result("c", Status.ERROR),
        result("d", Status.SKIP),
        result("e", Status.UNDECIDED),
        result("f", Status.FAIL, expected=Status.FAIL),
        result("g", Status.PASS),
        result("h", Status.REF_SUSPECT),
        result("i", Status.REF_SUSPECT, expected=Status.FAIL),
    ]
    root = ElementTree.fromstring(junit.render(results))
    marks = {
        case.get("name"): [e.tag for e in case if e.tag in ("failure", "error", "skipped")]
        for case in root.iter("testcase")
    }
    assert marks == {
        "a": ["failure"],
        "b": ["failure"],
        "c": ["error"],
        "d": ["skipped"],
        "e": ["skipped"],
        "f": ["skipped"],
        "g": [],
        "h": ["skipped"],
        "i": ["skipped"],
    }


def test_evidence_is_system_out_and_control_characters_do_not_break_the_xml() -> None:
    """An engine's log may hold anything; the report stays well-formed."""
    root = ElementTree.fromstring(junit.render([result(status=Status.CRASH)]))
    (output,) = root.iter("system-out")
    assert "because <it> & so" in str(output.text)
    assert "Traceback" in str(output.text)
