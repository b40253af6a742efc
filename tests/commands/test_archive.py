"""`readiness results` and `readiness compact`, over results of three nights."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

import readiness
from matrix.results import Result, Status, write_result
from tests.reports.samples import cell, result, whole_cell

GOOD, BAD = cell("alpha"), cell("beta")


def put(folder: Path, day: int, found: list[Result]) -> None:
    for number, one in enumerate(found):
        started_at = dt.datetime(2026, 1, day, 3, number, tzinfo=dt.UTC)
        provenance = msgspec.structs.replace(
            one.provenance, run_id=f"2026010{day}T030000Z-abcdef", started_at=started_at, night=f"night-{day}"
        )
        write_result(folder / provenance.run_id, msgspec.structs.replace(one, provenance=provenance))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Beta is right in the first night, wrong in the second, and could not be asked in the third."""
    put(tmp_path, 1, [*whole_cell(GOOD), *whole_cell(BAD)])
    put(tmp_path, 2, [*whole_cell(GOOD), *whole_cell(BAD, correctness=Status.FAIL)])
    put(tmp_path, 3, [*whole_cell(GOOD), result("loading", Status.ERROR, of=BAD, reason="the disk is full")])
    return tmp_path


def readiness_says(*arguments: str | Path, status: int = 0) -> str:
    done = CliRunner().invoke(readiness.app, [*map(str, arguments)], terminal_width=200)
    assert done.exit_code == status, done.output
    return done.output


def rows(*arguments: str | Path) -> list[tuple[str, str, str]]:
    """Day, probe and status of what is answered."""
    found = json.loads(readiness_says("results", *arguments, "--json"))
    return [(one["provenance"]["started_at"][:10], one["probe"], one["verdict"]["status"]) for one in found]


def test_what_stands_is_the_newest_that_settled_something(folder: Path) -> None:
    """Older results are history."""
    assert rows("beta-*", "--results", folder) == [
        ("2026-01-02", "loading", "PASS"),
        ("2026-01-02", "correctness", "FAIL"),
        ("2026-01-02", "throughput", "PASS"),
    ]


def test_history_is_filtered_by_cell_probe_status_and_day(folder: Path) -> None:
    """All that was ever measured, oldest first."""
    asked = ("beta-*", "--results", folder, "--history")
    assert rows(*asked, "--probe", "correctness") == [
        ("2026-01-01", "correctness", "PASS"),
        ("2026-01-02", "correctness", "FAIL"),
    ]
    assert rows(*asked, "--status", "error") == [("2026-01-03", "loading", "ERROR")]
    assert rows("*", "--results", folder, "--history", "--since", "2026-01-03", "--probe", "loading") == [
        ("2026-01-03", "loading", "PASS"),
        ("2026-01-03", "loading", "ERROR"),
    ]


def test_a_person_sees_a_line_a_result(folder: Path) -> None:
    """When, where, what, and in its words."""
    lines = readiness_says("results", "beta-*", "--results", folder).splitlines()
    assert f"2026-01-02 03:04 {BAD.id} correctness FAIL 1.02 x noise: because <it> & so" in lines
    assert len([line for line in lines if line]) == 3


@pytest.mark.parametrize(("before", "after"), [("2026-01-01", "2026-01-02"), ("night-1", "night-2")])
def test_two_nights_are_compared_by_day_or_by_name(folder: Path, before: str, after: str) -> None:
    """What changed, and how much did not."""
    said = readiness_says("results", "--results", folder, "--diff", before, after)
    assert said.splitlines() == [
        f"{BAD.id} correctness: PASS to FAIL: because <it> & so",
        "1 changed, 5 did not",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--diff", "2026-01-01", "2026-02-01"), "nothing was measured in night '2026-02-01'"),
        (("--status", "GREEN"), "'GREEN' is not one of 'pass', 'degraded'"),
        (("--since", "yesterday"), "'yesterday' is no day such as 2026-06-01"),
    ],
)
def test_wrong_input_is_said(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    """With exit status 2."""
    shown = readiness_says("results", "--results", folder, *arguments, status=2)
    assert said in " ".join(shown.replace("│", " ").split())


def test_nothing_is_no_error(tmp_path: Path) -> None:
    """Of an empty folder there is an empty answer."""
    assert rows("--results", tmp_path) == []


def test_compact_moves_older_runs_and_answers_stay_the_same(folder: Path) -> None:
    """All are older than two days."""
    before = rows("--results", folder, "--history")
    said = readiness_says("compact", "--results", folder, "--remove")
    assert said.startswith(
        "3 runs: 16 results are new in the archive, 0 took the place of older ones; 16 files taken away"
    )
    assert not list(folder.glob("2*"))
    assert rows("--results", folder, "--history") == before
    assert readiness_says("compact", "--results", folder).startswith("0 runs: 0 results are new")


def test_a_page_of_the_newest_run_needs_one_that_is_not_in_the_archive(folder: Path, tmp_path: Path) -> None:
    """The grid itself is made of the archive too."""
    page, asked = tmp_path / "page.md", ("grid", "--results", folder, "--site", tmp_path / "site")
    readiness_says(*asked, "--markdown", page)
    assert "from run `20260103T030000Z-abcdef`" in page.read_text()
    readiness_says("compact", "--results", folder, "--remove")
    assert "has results outside the archive" in readiness_says(*asked, "--markdown", page, status=2)
    readiness_says(*asked)


def test_a_damaged_file_is_named_by_every_question(folder: Path) -> None:
    """On standard error; the others are answered."""
    next(folder.glob("*/beta-*/correctness.result.json")).write_text("{")
    assert "not a readable" in readiness_says("results", "--results", folder)
    assert "set aside, for nobody can read it" in readiness_says("compact", "--results", folder)
    assert "1 files that could not be read" in readiness_says("results", "--results", folder)
