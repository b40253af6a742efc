"""Reading runs back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matrix.results import Status, write_result
from reports import runs
from tests.reports.samples import cell, result, whole_cell


def test_a_run_reads_back_what_was_written(tmp_path: Path) -> None:
    """Results survive their files unchanged."""
    written = [result("loading"), result("correctness", Status.UNDECIDED, minute=1)]
    for item in written:
        write_result(tmp_path / "run", item)
    assert runs.read_run(tmp_path / "run").results == tuple(written)


def test_a_damaged_file_is_reported_and_the_rest_is_kept(tmp_path: Path) -> None:
    """Half a file is named as a problem and never fatal."""
    write_result(tmp_path / "run", result("loading"))
    damaged = write_result(tmp_path / "run", result("correctness", minute=1))
    damaged.write_bytes(damaged.read_bytes()[:100])
    run = runs.read_run(tmp_path / "run")
    assert [item.probe for item in run.results] == ["loading"]
    assert len(run.problems) == 1
    assert "correctness.result.json" in run.problems[0]


def test_an_unknown_schema_version_is_refused_with_advice(tmp_path: Path) -> None:
    """A file of a later program is set aside, and the message says what to do."""
    path = write_result(tmp_path / "run", result())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 999}))
    run = runs.read_run(tmp_path / "run")
    assert run.results == ()
    assert "schema version 999" in run.problems[0]
    assert "use the program version that wrote it" in run.problems[0]


@pytest.mark.parametrize(
    ("field", "value"), [("cell_id", "../../../index"), ("cell_id", "other"), ("probe", "throughput")]
)
def test_a_result_that_is_not_what_its_place_says_is_set_aside(tmp_path: Path, field: str, value: str) -> None:
    """A file made by somebody else's machine names no page outside the site and no cell that it is not of."""
    path = write_result(tmp_path / "run", result())
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    run = runs.read_run(tmp_path / "run")
    assert run.results == ()
    assert "which is not what its place says" in run.problems[0]


def test_a_run_whose_name_is_a_path_is_set_aside(tmp_path: Path) -> None:
    """Its name becomes a part of the path of a log."""
    path = write_result(tmp_path / "run", result())
    document = json.loads(path.read_text())
    document["provenance"]["run_id"] = "../elsewhere"
    path.write_text(json.dumps(document))
    run = runs.read_run(tmp_path / "run")
    assert run.results == ()
    assert "`$.provenance.run_id`" in run.problems[0]


def test_no_folder_is_no_runs(tmp_path: Path) -> None:
    """A fresh checkout has no results."""
    assert runs.read(tmp_path / "nothing").runs == ()


def test_only_an_answer_to_every_probe_makes_a_cell_measured() -> None:
    """What a night has measured is not measured again; what it could not, is."""
    good, bad = cell("alpha"), cell("beta")
    found = [*whole_cell(good), *whole_cell(bad, correctness=Status.ERROR)]
    probes = ("loading", "correctness", "throughput")
    assert runs.answered(found, probes) == {good.id}
    assert runs.answered(found, (*probes, "state")) == set()
    assert runs.answered([], probes) == set()


@pytest.mark.parametrize(
    ("loading", "correctness", "finished"),
    [
        (Status.PASS, Status.PASS, True),
        (Status.PASS, Status.UNDECIDED, True),
        (Status.SKIP, Status.SKIP, True),
        (Status.CRASH, Status.NOTRUN, True),
        (Status.PASS, Status.NOTRUN, False),
        (Status.PASS, Status.ERROR, False),
        (Status.PASS, None, False),
    ],
)
def test_a_cell_is_finished_when_asking_again_would_give_the_same(
    tmp_path: Path, loading: Status, correctness: Status | None, finished: bool
) -> None:
    """A run that goes on leaves it alone; what was cut off or was our doing is asked once more."""
    folder = tmp_path / "20260102T000000Z-abcdef"
    write_result(folder, result("loading", loading))
    if correctness is not None:
        write_result(folder, result("correctness", correctness))
    assert (cell().id in runs.read_run(folder).finished(("loading", "correctness"))) is finished
