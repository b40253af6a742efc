"""The microscope and the watchdog, played as they stand in `.github/workflows`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.rehearsal.stage import Stage

MICROSCOPE, WATCHDOG, NIGHTLY = (
    ROOT / ".github" / "workflows" / f"{name}.yml" for name in ("microscope", "watchdog", "nightly")
)

PROFILE = """
[[profile]]
id = "microscope"
description = "The fake engine, twice."
launcher = "venv"
tier = "smoke"
releases = ["fake-*"]
models = ["pocket"]
devices = ["cpu"]
configs = ["float32"]
"""


@pytest.fixture
def stage(environment: dict[str, str], tables: Path, tmp_path: Path) -> Stage:
    """A fork on its first day."""
    with (tables / "profiles.toml").open("a") as file:
        file.write(PROFILE)
    made = Stage(folder=tmp_path / "github", environment={**environment, "READINESS_MATRIX": str(tables)})
    made.github.pages_on = False
    return made


def test_the_microscope_adds_its_night_to_the_data_branch_and_the_watchdog_sees_it(stage: Stage) -> None:
    """The watchdog misses the other profile's night until that has come; where Pages is off, that is no fault."""
    night = stage.play(MICROSCOPE, "7")
    assert set(night.results.values()) == {"success"}, "\n".join(job.log for job in night.jobs.values())
    (record,) = stage.data().glob("results/*.night.json")
    assert json.loads(record.read_text())["night"] == "microscope-7"
    watched = stage.play(WATCHDOG, "8")
    assert watched.results == {"are nights young": "failure"}
    assert "nightly: there is no night at all" in watched.jobs["are nights young"].log
    stage.play(NIGHTLY, "9")
    seen = stage.play(WATCHDOG, "10").jobs["are nights young"]
    assert seen.result == "success", seen.log
    assert "microscope: night microscope-7: 2 of 2 cells decided" in seen.summary
    assert "the page is off: " in seen.summary
