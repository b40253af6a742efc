"""Runs become Parquet files, and nothing is lost on the way."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from matrix.results import LOG_TAIL, Result, Status, Timings, write_bytes, write_json, write_result
from reports import compact, cost, questions, store
from reports.compact import Compacted
from reports.cost import Cost
from tests.reports.samples import cell, whole_cell

TODAY = dt.date(2026, 3, 10)
NOW = dt.datetime(2026, 3, 10, 6, tzinfo=dt.UTC)


def put(folder: Path, day: dt.date, found: list[Result]) -> str:
    """Store results as a run of a day, with a log tail, timings and what it cost; returns its name."""
    run_id = f"{day:%Y%m%d}T030000Z-abcdef"
    for number, one in enumerate(found):
        started_at = dt.datetime(day.year, day.month, day.day, 3, number, tzinfo=dt.UTC)
        provenance = msgspec.structs.replace(one.provenance, run_id=run_id, started_at=started_at, command=("a b", "c"))
        write_result(folder / run_id, msgspec.structs.replace(one, provenance=provenance))
        write_bytes(folder / run_id / one.cell_id / LOG_TAIL, f"last words of {day}\n".encode())
        write_json(folder / run_id / one.cell_id / "timings.json", Timings(cell_id=one.cell_id, seconds={"start": 2.0}))
    write_json(folder / run_id / cost.FILE, Cost(total_s=9.0, parts_s={"start": 2.0}, harness_s=1.0, cells=1))
    return run_id


def days(month: int, count: int) -> list[dt.date]:
    return [dt.date(2026, month, 1 + number) for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three nights of January, two of February and two of March."""
    for day in (*days(1, 3), *days(2, 2), dt.date(2026, 3, 9), dt.date(2026, 3, 10)):
        put(tmp_path, day, whole_cell(cell(), correctness=Status.FAIL if day.day == 2 else Status.PASS))
    return tmp_path


def compacted(folder: Path, *, before: dt.date = TODAY, now: dt.datetime = NOW, remove: bool = True) -> Compacted:
    with store.opened(folder) as found:
        return compact.compact(found, before=before, remove=remove, now=now)


def told(folder: Path) -> tuple[list[Result], list[str], tuple[str, ...]]:
    """All results, all log tails in their order, and the problems."""
    with store.opened(folder) as found:
        results = found.results()
        return results, [questions.log_tail(found, one) for one in results], found.problems


@pytest.mark.parametrize("remove", [True, False])
def test_what_is_compacted_reads_back_the_same(folder: Path, remove: bool) -> None:
    """Results, log tails, timings and costs; from Parquet alone, and beside the JSON it was made of."""
    before = told(folder)
    with store.opened(folder) as found:
        tables = [found.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("cells", "runs")]
    done = compacted(folder, remove=remove)
    assert done == Compacted(runs=6, new=18, replaced=0, removed=36 if remove else 0, aside=(), merged=0)
    assert told(folder) == before
    with store.opened(folder) as found:
        assert [found.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("cells", "runs")] == tables
    left = {path.parent.parent.name for path in folder.glob("2*/*/*.result.json")}
    assert len(left) == (1 if remove else 7)
    files = [path.relative_to(folder).as_posix() for path in store.archived(folder, "results")]
    assert files == [
        f"archive/results/month=2026-{month}/20260310T060000.000000Z.parquet" for month in ("01", "02", "03")
    ]


def test_a_second_compaction_adds_nothing(folder: Path) -> None:
    """The archive grows by what is new alone."""
    compacted(folder, remove=False)
    assert compacted(folder, remove=False, now=NOW + dt.timedelta(hours=1)) == Compacted(
        runs=6, new=0, replaced=0, removed=0, aside=(), merged=0
    )
    assert len(store.archived(folder, "results")) == 3


def test_nights_make_files_and_a_month_that_is_over_becomes_one(folder: Path) -> None:
    """January's three nights, compacted night by night; in February they become one file."""
    before = told(folder)
    for day in days(1, 3):
        compacted(folder, before=day + dt.timedelta(days=1), now=dt.datetime(2026, 1, day.day + 1, 6, tzinfo=dt.UTC))
    assert len(store.archived(folder, "results")) == 3
    done = compacted(folder, before=dt.date(2026, 1, 9), now=dt.datetime(2026, 2, 1, 6, tzinfo=dt.UTC))
    assert (done.new, done.merged) == (0, 9)
    assert [path.name for path in store.archived(folder, "results")] == ["20260104T060000.000000Z-merged.parquet"]
    assert told(folder) == before


def test_a_result_that_came_later_or_was_withdrawn_holds(folder: Path) -> None:
    """A job of an archived night reports again: its accusation is taken back."""
    compacted(folder)
    run_id = put(folder, dt.date(2026, 1, 2), [])
    with store.opened(folder) as found:
        (accusing,) = found.results("status = 'FAIL' AND run_id = ?", [run_id])
    verdict = msgspec.structs.replace(accusing.verdict, status=Status.REF_SUSPECT, reason="the engines agree")
    write_result(folder / run_id, msgspec.structs.replace(accusing, verdict=verdict))
    assert [one.verdict.reason for one in told(folder)[0] if one.verdict.status is Status.REF_SUSPECT] == [
        "the engines agree"
    ]
    done = compacted(folder, now=NOW + dt.timedelta(hours=1))
    assert (done.new, done.replaced) == (0, 1)
    results, tails, problems = told(folder)
    assert len(results) == 21 and len(set(tails)) == 7
    assert [one.verdict.reason for one in results if one.verdict.status is Status.REF_SUSPECT] == ["the engines agree"]
    assert problems == ()


def test_what_nobody_can_read_is_set_aside_and_said_ever_after(folder: Path) -> None:
    """Half a file, an unknown schema, and a file of the archive that is damaged."""
    compacted(folder, before=dt.date(2026, 2, 1))
    (damaged,) = store.archived(folder, "results")
    content = bytearray(damaged.read_bytes())
    content[20:400] = b"\xff" * 380
    damaged.write_bytes(content)
    half = next(folder.glob("20260201*/*/loading.result.json"))
    half.write_bytes(half.read_bytes()[:50])
    results, _, problems = told(folder)
    assert len(results) == 4 * 3 - 1  # of February and March
    assert [problem.partition(": ")[0] for problem in problems] == [str(half), str(damaged)]
    done = compacted(folder, now=NOW + dt.timedelta(hours=1))
    assert done.aside == (half.relative_to(folder).as_posix(), damaged.relative_to(folder).as_posix())
    again, _, problems = told(folder)
    assert (again, problems) == (results, (f"{folder / 'aside'}: 2 files that could not be read",))


def test_measurements_and_whole_logs_stay(folder: Path) -> None:
    """The archive does not hold them; a verdict can be recomputed from them."""
    kept = folder / "20260101T030000Z-abcdef" / cell().id / "correctness.measurement.json"
    write_bytes(kept, b"{}")
    compacted(folder)
    assert [path for path in kept.parent.parent.rglob("*") if path.is_file()] == [kept]
    assert len(told(folder)[0]) == 21


def test_a_compaction_that_was_cut_short_loses_nothing(folder: Path) -> None:
    """After the merged file came and before its parts went, and with half a file left over."""
    before = told(folder)
    for day in days(1, 2):
        compacted(folder, before=day + dt.timedelta(days=1), now=dt.datetime(2026, 1, day.day + 1, 6, tzinfo=dt.UTC))
    parts = {
        path: path.read_bytes() for table in ("results", "cells", "runs") for path in store.archived(folder, table)
    }
    compacted(folder, before=dt.date(2026, 1, 3), now=NOW)
    for path, content in parts.items():
        path.write_bytes(content)
    (folder / "archive" / "results" / "month=2026-01" / "x.unfinished").write_bytes(b"PAR1")
    results, tails, problems = told(folder)
    assert (results, tails) == before[:2]
    assert [problem.partition(": ")[2] for problem in problems] == [
        f"{rows} rows of {table} that a newer file holds too"
        for table, rows in (("results", 3), ("cells", 1), ("runs", 1))
        for _ in range(2)
    ]
    compacted(folder, before=dt.date(2026, 1, 3), now=NOW + dt.timedelta(hours=1))
    assert told(folder) == before
    assert not list(folder.rglob("*.unfinished"))
