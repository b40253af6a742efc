"""Results on disk: whole or not there, read back as written, and refused where they are of another version."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from matrix import results
from matrix.results import Measurement, Provenance, Result, SchemaError, Status, Verdict
from tests.fake_engine.bench import CELL

PROVENANCE = Provenance(
    run_id="run",
    started_at=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    seconds=1.5,
    harness_version="0.1.0",
    release_id=CELL.release.id,
    build="official",
    build_note="",
    engine_version=None,
    requirements_sha256=None,
    image_digest=None,
    model_digest=None,
    machine="a machine",
)
RESULT = Result(
    schema_version=results.SCHEMA_VERSION,
    cell=CELL,
    cell_id=CELL.id,
    probe="loading",
    probe_version=1,
    tier="smoke",
    verdict=Verdict(status=Status.FAIL, reason="it broke", evidence={"log tail": "oh"}, numbers={"startup_s": 2.0}),
    provenance=PROVENANCE,
)
MEASUREMENT = Measurement(
    values={"top_k": 20, "text": "a"},
    tables={"corpus": {"token_ids": np.arange(6).reshape(2, 3), "domain": np.array(["code", "prose"])}},
)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The file lies under the cell's name and the probe's, and gives the same record back."""
    path = results.write_result(tmp_path, RESULT)
    assert path == tmp_path / CELL.id / "loading.result.json"
    assert results.read_result(path) == RESULT


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_result_with_a_number_that_is_none_can_be_read(number: float, tmp_path: Path) -> None:
    """A verdict about numbers that are not finite must not make a file that nobody can read."""
    verdict = replace(RESULT.verdict, numbers={"ratio": number})
    path = results.write_result(tmp_path, replace(RESULT, verdict=verdict))
    assert results.read_result(path).verdict.reason == "it broke"


@pytest.mark.parametrize("version", [1, results.SCHEMA_VERSION + 1, None])
def test_another_schema_is_refused_with_advice(version: int | None, tmp_path: Path) -> None:
    """The versions are named, and what to do."""
    path = results.write_result(tmp_path, RESULT)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": version}))
    with pytest.raises(SchemaError, match=f"schema version {version}, this program reads 2, 3, 4: use"):
        results.read_result(path)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """A result with a key that this version does not know is not half understood."""
    path = results.write_result(tmp_path, RESULT)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "good"}))
    with pytest.raises(SchemaError, match="mood"):
        results.read_result(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    """An empty, cut or foreign file is named."""
    path = tmp_path / "loading.result.json"
    path.write_text(text)
    with pytest.raises(SchemaError, match=r"loading\.result\.json: not a readable"):
        results.read_result(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader sees the old file or the new one, and no temporary file stays behind."""
    path = tmp_path / "file"
    results.write_bytes(path, b"old")

    def full(source: object, target: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_measurement_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Values and arrays come back, names and types too."""
    found = results.read_measurement(results.write_measurement(tmp_path, CELL.id, "loading", MEASUREMENT))
    assert found.values == MEASUREMENT.values
    assert set(found.tables) == {"corpus"}
    for name, array in MEASUREMENT.tables["corpus"].items():
        assert found.tables["corpus"][name].dtype == array.dtype
        assert np.array_equal(found.tables["corpus"][name], array)


def test_a_measurement_of_another_schema_is_refused_with_advice(tmp_path: Path) -> None:
    """As a result is."""
    path = results.write_measurement(tmp_path, CELL.id, "loading", MEASUREMENT)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    with pytest.raises(SchemaError, match="schema version 1, this program reads 2, 3, 4: use"):
        results.read_measurement(path)


def test_cells_share_their_tables(tmp_path: Path) -> None:
    """The same arrays are stored once, another value makes another file."""
    results.write_measurement(tmp_path, "one", "loading", MEASUREMENT)
    results.write_measurement(tmp_path, "two", "loading", MEASUREMENT)
    assert len(list((tmp_path / "tables").iterdir())) == 1
    other = Measurement(values={}, tables={"corpus": {**MEASUREMENT.tables["corpus"], "domain": np.array(["a", "b"])}})
    results.write_measurement(tmp_path, "three", "loading", other)
    assert len(list((tmp_path / "tables").iterdir())) == 2


@pytest.mark.parametrize("cut", [0, 40, -30], ids=["empty", "head", "no end"])
def test_a_truncated_table_is_refused(cut: int, tmp_path: Path) -> None:
    """A table that was cut short is named, and is no failure of ours."""
    path = results.write_measurement(tmp_path, CELL.id, "loading", MEASUREMENT)
    (table,) = (tmp_path / "tables").iterdir()
    table.write_bytes(table.read_bytes()[:cut])
    with pytest.raises(SchemaError, match="not a readable table"):
        results.read_measurement(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    """A measurement without its table is named."""
    path = results.write_measurement(tmp_path, CELL.id, "loading", MEASUREMENT)
    (table,) = (tmp_path / "tables").iterdir()
    table.unlink()
    with pytest.raises(SchemaError, match=table.name):
        results.read_measurement(path)


@pytest.mark.parametrize(
    ("status", "expected", "unexpected"),
    [
        (Status.PASS, Status.PASS, False),
        (Status.FAIL, Status.PASS, True),
        (Status.FAIL, Status.FAIL, False),
        (Status.CRASH, Status.FAIL, True),
        (Status.PASS, Status.FAIL, True),
        (Status.ERROR, Status.FAIL, False),
        (Status.ERROR, Status.PASS, False),
        (Status.UNDECIDED, Status.FAIL, False),
        (Status.SKIP, Status.PASS, False),
    ],
)
def test_news_is_what_was_not_foreseen(status: Status, expected: Status, unexpected: bool) -> None:
    """A fault unforeseen, another fault than foreseen, and a foreseen fault that is gone are news."""
    assert Verdict(status=status, reason="x", expected=expected).unexpected is unexpected


def test_blame_and_decision_of_every_status() -> None:
    """Four statuses blame the engine, and those and PASS decide a cell."""
    assert {status.name for status in Status if status.blames_engine} == {"DEGRADED", "FAIL", "CRASH", "TIMEOUT"}
    assert {status.name for status in Status if status.decided} == {"PASS", "DEGRADED", "FAIL", "CRASH", "TIMEOUT"}
