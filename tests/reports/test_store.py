"""All results of a folder as tables."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrix.results import Result, Status, Verdict, read_result, write_result
from reports import questions, rows, store
from reports.standing import standing
from tests.reports.samples import cell, result, whole_cell

CELLS = (cell("alpha"), cell("beta"))


def at(made: Result, run: int, second: int) -> Result:
    started_at = dt.datetime(2026, 1, 2, 3, 0, second, tzinfo=dt.UTC)
    provenance = msgspec.structs.replace(made.provenance, run_id=f"run-{run}", started_at=started_at)
    return msgspec.structs.replace(made, provenance=provenance)


@st.composite
def histories(draw: st.DrawFn) -> list[Result]:
    """A few runs of two cells and three probes, in the order of measuring."""
    probes = ("loading", "correctness", "state")
    asked = [(run, of, probe) for run in range(4) for of in range(2) for probe in probes if draw(st.booleans())]
    statuses = draw(st.lists(st.sampled_from(Status), min_size=len(asked), max_size=len(asked)))
    return [
        at(result(probe, status, of=CELLS[of]), run, second)
        for second, ((run, of, probe), status) in enumerate(zip(asked, statuses, strict=True))
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(history=histories())
def test_what_stands_is_the_same_in_sql_and_in_python(
    tmp_path_factory: pytest.TempPathFactory, history: list[Result]
) -> None:
    """The rule is stated once in Python, and asked of a million rows in SQL."""
    folder = tmp_path_factory.mktemp("results")
    written = [read_result(write_result(folder / one.provenance.run_id, one)) for one in history]
    with store.opened(folder) as found:
        by_place = {(one.result.cell_id, one.result.probe): one for one in questions.standing(found)}
    assert by_place == {(one.result.cell_id, one.result.probe): one for one in standing(written)}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
VERDICTS = st.builds(
    Verdict,
    status=st.sampled_from(Status),
    reason=TEXT,
    evidence=st.dictionaries(TEXT, TEXT, max_size=3),
    numbers=st.dictionaries(TEXT, NUMBER, max_size=3),
    curves=st.dictionaries(TEXT, st.lists(NUMBER, max_size=3).map(tuple), max_size=2),
    expected=st.sampled_from(Status),
    expected_reason=TEXT,
)


@settings(max_examples=60, deadline=None)
@given(verdicts=st.lists(VERDICTS, min_size=1, max_size=5))
def test_a_result_is_the_same_after_a_table(verdicts: list[Verdict]) -> None:
    """Every character and every number, through JSON and SQL."""
    made = [at(msgspec.structs.replace(result(), verdict=verdict), run, 0) for run, verdict in enumerate(verdicts)]
    with duckdb.connect() as connection:
        store.load(connection, "held", "results", [rows.row(one) for one in made])
        cursor = connection.execute("SELECT * FROM held ORDER BY run_id")
        names = [column[0] for column in cursor.description or ()]
        again = [rows.result(dict(zip(names, values, strict=True))) for values in cursor.fetchall()]
    assert again == made


def test_the_columns_of_a_row_are_those_that_are_published() -> None:
    """In the same order."""
    assert list(rows.row(result())) == list(rows.RESULTS)


def test_no_folder_is_an_empty_store(tmp_path: Path) -> None:
    """A fresh checkout has no results."""
    with store.opened(tmp_path / "nothing") as found:
        assert (found.results(), questions.standing(found), found.problems) == ([], [], ())


def test_results_are_filtered_and_come_in_the_order_of_measuring(tmp_path: Path) -> None:
    """By any column."""
    for number, one in enumerate([*whole_cell(CELLS[0]), *whole_cell(CELLS[1], correctness=Status.FAIL)]):
        write_result(tmp_path / "run-0", at(one, 0, number))
    with store.opened(tmp_path) as found:
        kept = found.results("engine = ? OR status = 'FAIL'", ["alpha"])
        numbers = found.numbers("SELECT seconds FROM results WHERE engine = ?", ["alpha"])
    assert [(one.cell.release.engine, one.probe) for one in kept] == [
        ("alpha", "loading"), ("alpha", "correctness"), ("alpha", "throughput"), ("beta", "correctness"),
    ]  # fmt: skip
    assert numbers["seconds"].tolist() == [1.5, 1.5, 1.5]


def test_a_result_of_the_version_before_is_read(tmp_path: Path) -> None:
    """Version 2 had no curves."""
    path = write_result(tmp_path / "run", result())
    document = json.loads(path.read_text()) | {"schema_version": 2}
    del document["verdict"]["curves"]
    path.write_text(json.dumps(document))
    with store.opened(tmp_path) as found:
        (one,) = found.results()
    assert (one.schema_version, one.verdict.curves) == (2, {})


def test_a_parquet_file_of_another_program_is_named_and_left_out(tmp_path: Path) -> None:
    """And so is one that is none."""
    write_result(tmp_path / "run", result())
    month = tmp_path / "archive" / "results" / "month=2026-01"
    month.mkdir(parents=True)
    duckdb.execute("COPY (SELECT 1 AS one) TO ? (FORMAT parquet)", [str(month / "a.parquet")])
    (month / "b.parquet").write_bytes(b"PAR1 and nothing else")
    with store.opened(tmp_path) as found:
        assert len(found.results()) == 1
        assert found.problems[0] == f"{month / 'a.parquet'}: columns of version None, this program reads 1"
        assert found.problems[1].startswith(f"{month / 'b.parquet'}: Invalid Input Error: ")


def test_wrong_sql_is_our_fault_and_said(tmp_path: Path) -> None:
    """No file is blamed for it."""
    with store.opened(tmp_path) as found, pytest.raises(duckdb.BinderException):
        found.query("SELECT nothing FROM results")
