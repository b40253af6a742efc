"""Where a result comes from, without where it lay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from matrix.results import Status, Verdict
from probes import provenance


def test_folders_of_this_machine_are_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache in the home folder is the cache; in the sentence as in the evidence, and nothing else is touched."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("READINESS_CACHE", "/home/somebody/.cache/readiness")
    said = "no file /home/somebody/.cache/readiness/models/x, nor /home/somebody/y, nor /opt/z"
    clean = "no file CACHE/models/x, nor ~/y, nor /opt/z"
    assert provenance.without_places(said) == clean
    verdict = Verdict(status=Status.ERROR, reason=said, evidence={"log tail": said}, numbers={"n": 1.0})
    expected = Verdict(status=Status.ERROR, reason=clean, evidence={"log tail": clean}, numbers={"n": 1.0})
    assert provenance.verdict_without_places(verdict) == expected


def test_a_checkout_is_named_by_its_commit_and_an_installation_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty digits, and `dirty` where a file differs from it."""
    provenance.harness_version.cache_clear()
    assert re.fullmatch(r"[\d.]+\+[0-9a-f]{40}(\.dirty)?", provenance.harness_version())
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    provenance.harness_version.cache_clear()
    assert re.fullmatch(r"[\d.]+", provenance.harness_version())
    provenance.harness_version.cache_clear()


def test_a_machine_is_described_and_not_named() -> None:
    """Its processor, cores, memory and system."""
    assert re.fullmatch(r".+, \d+ cores?, \d+ GiB, Linux \S+ [\d.]+", provenance.machine())
