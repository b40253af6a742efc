"""`readiness plan`, as a person and as a workflow ask for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import readiness
from commands import options, tonight
from probes.session import Options, Session
from reports import store

RULE = """
[[exclude]]
cells = "fake-0.0.2__*"
reason = "its build lacks fake[audio] :100: and [/all] of that"
"""
REASON = RULE.split('"')[3]


@pytest.fixture
def folder(tables: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two releases, of which a rule leaves one out."""
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.whole_run")
    monkeypatch.setattr(options.out, "width", 250)
    (tables / "rules.toml").write_text(RULE)
    return tables


def plan(folder: Path, *arguments: str) -> str:
    given = ("plan", "--matrix", str(folder), "--results", str(folder / "results"), *arguments)
    done = CliRunner().invoke(readiness.app, given, terminal_width=250)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_reason_is_shown_as_it_was_written(folder: Path) -> None:
    """Brackets are no markup, and a word between colons is no picture."""
    rows = [line for line in plan(folder).splitlines() if "fake-" in line]
    assert [[word.strip() for word in row.strip("│").split("│")] for row in rows] == [
        ["fake-0.0.1__pocket__cpu__default", "official", "yes"],
        ["fake-0.0.2__pocket__cpu__default", "official", REASON],
    ]


def test_a_night_is_explained_without_being_made(folder: Path) -> None:
    """Each cell with the reason why it would be asked or not, and what that costs."""
    said = plan(folder, "--profile", "nightly", "--explain")
    rows = [[word.strip() for word in line.strip("│").split("│")] for line in said.splitlines() if "fake-" in line]
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        "fake-0.0.1__pocket__cpu__default": ("yes", "the model was never asked of this engine"),
        "fake-0.0.1__pocket__borrowed__default": ("no", "no runner for borrowed: devices.toml names no labels"),
        "fake-0.0.2__pocket__cpu__default": ("no", REASON),
        "fake-0.0.2__pocket__borrowed__default": ("no", REASON),
    }
    assert not (folder / "results").exists()


def test_a_release_is_known_by_its_image_on_one_device_and_by_its_lock_on_another(folder: Path) -> None:
    """Else one of the two would be new every night."""
    image = '[release.image]\ntag = "fake/engine:1"\ndigest = "sha256:{}"\ndevice_kinds = ["cuda"]\n'.format("a" * 64)
    engines, devices = folder / "engines.toml", folder / "devices.toml"
    lock = '"requirements/fake.txt"\n'
    engines.write_text(engines.read_text().replace(lock, f"{lock}\n{image}", 1).replace('["cpu"]', '["cpu", "cuda"]'))
    devices.write_text(devices.read_text().replace('"borrowed"\nkind = "cpu"', '"borrowed"\nkind = "cuda"'))
    session = Session(Options(matrix=str(folder), profile="nightly", select=("fake-0.0.1__*",)))
    cells = [one.cell for one in session.plan]
    with store.opened(folder / "results") as found:
        settings = {one.cell.device.id: one.setting for one in tonight._candidates(session, cells, found)}
    assert settings["borrowed"]["image"] == f"sha256:{'a' * 64}"
    assert len(settings["cpu"]["lock"]) == 64


def test_a_nights_jobs_are_a_matrix_of_matrices_and_its_record_says_what_is_left_out(folder: Path) -> None:
    """Of the cells that a hosted runner can ask."""
    given = ("--profile", "nightly", "--format", "github", "--night", "7", "--record", str(folder / "record"))
    (shard,) = json.loads(plan(folder, *given))["include"]
    (job,) = json.loads(shard["jobs"])["include"]
    assert (shard["shard"], job["cells"]) == (1, ["fake-0.0.1__pocket__cpu__default"])
    record = json.loads((folder / "record" / "7.night.json").read_text())
    assert (record["night"], record["cells"]) == ("7", job["cells"])
    assert record["left_out"]["fake-0.0.2__pocket__cpu__default"] == REASON
