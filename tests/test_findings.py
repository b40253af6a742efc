"""The findings that are published: each has a short program, its execution, and an answer of a bisection of it."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from matrix import bisection
from matrix.bisection import Bisection
from matrix.reproduction import Reproduction
from matrix.results import read_json
from reports.bugs import repro
from runners import cache
from tests.conftest import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "docs" / "findings").glob("*/finding.toml"))


def test_there_are_findings_of_several_engines() -> None:
    """At least five faults."""
    releases = {json.loads((folder / "reproduction.json").read_text())["release_id"] for folder in FOLDERS}
    assert len(FOLDERS) >= 5 and len(releases) >= 3


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_finding_was_shown_by_the_very_program_that_is_published(folder: Path) -> None:
    """And so was what its bisection says."""
    program = (folder / "repro.py").read_text()
    ast.parse(program)
    assert len(program.splitlines()) < repro.LINES
    found = read_json(folder / "reproduction.json", Reproduction)
    digest = hashlib.sha256(program.encode()).hexdigest()
    assert (found.outcome, found.exit_code, found.program_sha256) == ("shown", 1, digest)
    searched = read_json(folder / "bisection.json", Bisection)
    assert searched.finished and (searched.repro == digest or searched.probe is not None)
    page = (folder / "README.md").read_text()
    assert bisection.answer(searched).sentence[1:] in page
    assert program.strip() in page and found.build_note in page


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_in_a_finding_names_a_place_of_the_machine_that_it_ran_on(folder: Path) -> None:
    """Evidence is published."""
    places = (str(Path.home()), str(ROOT), str(cache.root()))
    for path in folder.iterdir():
        assert not [place for place in places if place in path.read_text()], path


def test_the_list_of_findings_is_whole() -> None:
    """One row each."""
    page = (ROOT / "docs" / "findings" / "README.md").read_text()
    linked: list[Any] = re.findall(r"\]\(([\w.-]+)/README\.md\)", page)
    assert sorted(linked) == [folder.name for folder in FOLDERS]
