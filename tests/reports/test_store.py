"""Reading runs back."""

from __future__ import annotations

import json
from pathlib import Path

from matrix.results import Status, write_result
from reports import store
from tests.reports.samples import result


def test_a_run_reads_back_what_was_written(tmp_path: Path) -> None:
    """Results survive their files unchanged."""
    written = [result("loading"), result("correctness", Status.FAIL, minute=1)]
    for item in written:
        write_result(tmp_path / "run", item)
    assert store.read_run(tmp_path / "run").results == tuple(written)


def test_a_damaged_file_is_reported_and_the_rest_is_kept(tmp_path: Path) -> None:
    """Half a file is named as a problem and never fatal."""
    write_result(tmp_path / "run", result("loading"))
    damaged = write_result(tmp_path / "run", result("correctness", minute=1))
    damaged.write_bytes(damaged.read_bytes()[:100])
    run = store.read_run(tmp_path / "run")
    assert [item.probe for item in run.results] == ["loading"]
    assert len(run.problems) == 1
    assert "correctness.result.json" in run.problems[0]


def test_an_unknown_schema_version_is_refused_with_advice(tmp_path: Path) -> None:
    """A file of a later program is set aside, and the message says what to do."""
    path = write_result(tmp_path / "run", result())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 999}))
    run = store.read_run(tmp_path / "run")
    assert run.results == ()
    assert "schema version 999" in run.problems[0]
    assert "use the program version that wrote it" in run.problems[0]


def test_the_latest_result_of_each_probe_wins(tmp_path: Path) -> None:
    """A later run replaces what it measured again and keeps the rest."""
    write_result(tmp_path / "1", result("loading", Status.CRASH))
    write_result(tmp_path / "1", result("throughput"))
    write_result(tmp_path / "2", result("loading"))
    newest = store.latest(store.read_runs(tmp_path))
    assert {item.probe: item.verdict.status for item in newest} == {
        "loading": Status.PASS,
        "throughput": Status.PASS,
    }


def test_no_folder_is_no_runs(tmp_path: Path) -> None:
    """A fresh checkout has no results."""
    assert store.read_runs(tmp_path / "nothing") == []
