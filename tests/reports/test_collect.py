"""Bringing the results of a night's jobs together."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from matrix.results import LOG_TAIL, Status, read_result, write_bytes, write_json, write_result
from reports import compact, cost, store
from reports.collect import Collected, collect
from reports.cost import Cost
from tests.reports.samples import result


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """One run as artifacts bring it: results, a log tail, and much that is not kept."""
    folder = tmp_path / "incoming"
    kept = write_result(folder / "run", result())
    for name in ("log_tail.txt", "server.log", "loading.measurement.json", "timings.json"):
        write_bytes(kept.with_name(name), b"x")
    write_bytes(folder / "run" / "tables" / "0.npz", b"x")
    write_bytes(folder / "7.night.json", b"{}")
    return folder


def test_what_pages_are_made_of_is_kept_and_the_rest_stays_in_the_artifacts(incoming: Path, tmp_path: Path) -> None:
    """Measurements and whole logs are large; the data branch is for ever."""
    assert collect(incoming, tmp_path / "data") == Collected(new=4, known=0, differing=())
    names = sorted(path.name for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert names == ["7.night.json", "loading.result.json", "log_tail.txt", "timings.json"]


def test_collecting_twice_changes_nothing(incoming: Path, tmp_path: Path) -> None:
    """A job that is tried again does no harm."""
    collect(incoming, tmp_path / "data")
    assert collect(incoming, tmp_path / "data") == Collected(new=0, known=4, differing=())


def test_nothing_is_ever_overwritten(incoming: Path, tmp_path: Path) -> None:
    """What differs from what is there is named, and what is there stays."""
    collect(incoming, tmp_path / "data")
    (incoming / "7.night.json").write_text("[]")
    assert collect(incoming, tmp_path / "data").differing == ("7.night.json",)
    assert (tmp_path / "data" / "7.night.json").read_text() == "{}"


def test_no_artifact_at_all_is_nothing_new(tmp_path: Path) -> None:
    """Every job may be lost."""
    assert collect(tmp_path / "nowhere", tmp_path / "data") == Collected(new=0, known=0, differing=())


def put(folder: Path, status: Status, run_id: str = "run") -> Path:
    return write_result(folder / "run", result("correctness", status, run_id=run_id))


def test_an_accusation_is_withdrawn_when_the_other_engine_comes_in_late(tmp_path: Path) -> None:
    """The same measurement, which agrees with another engine's: the one thing that follows later, and only once."""
    incoming, data = tmp_path / "incoming", tmp_path / "data"
    put(incoming, Status.FAIL)
    collect(incoming, data)
    path = put(incoming, Status.REF_SUSPECT)
    name = path.relative_to(incoming).as_posix()
    assert collect(incoming, data) == Collected(new=0, known=0, differing=(), withdrawn=(name,))
    assert read_result(data / name).verdict.status is Status.REF_SUSPECT
    assert collect(incoming, data) == Collected(new=0, known=1, differing=())


@pytest.mark.parametrize(
    ("before", "after", "run_id"),
    [
        (Status.REF_SUSPECT, Status.FAIL, "run"),
        (Status.PASS, Status.REF_SUSPECT, "run"),
        (Status.FAIL, Status.PASS, "run"),
        (Status.FAIL, Status.REF_SUSPECT, "another"),
    ],
)
def test_nothing_else_follows_later(before: Status, after: Status, run_id: str, tmp_path: Path) -> None:
    """Neither an accusation nor another measurement takes a result's place."""
    incoming, data = tmp_path / "incoming", tmp_path / "data"
    put(incoming, before)
    collect(incoming, data)
    name = put(incoming, after, run_id).relative_to(incoming).as_posix()
    assert collect(incoming, data).differing == (name,)
    assert read_result(data / name).verdict.status is before


def archived(folder: Path) -> None:
    """As `readiness compact --remove` leaves a folder of results."""
    with store.opened(folder) as found:
        compact.compact(found, before=dt.date(2100, 1, 1), remove=True, now=dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
    assert not list(folder.glob("*/*/*.result.json"))


def test_what_is_compacted_counts_as_being_there(tmp_path: Path) -> None:
    """A job that reports again after days: the same is known, another result of the same run is named and left."""
    incoming, data = tmp_path / "incoming", tmp_path / "data"
    name = put(incoming, Status.PASS).relative_to(incoming).as_posix()
    write_bytes(incoming / name.replace("correctness.result.json", LOG_TAIL), b"last words")
    write_json(incoming / "run" / cost.FILE, Cost(total_s=1.0, parts_s={}, harness_s=1.0, cells=1))
    collect(incoming, data)
    archived(data)
    assert collect(incoming, data) == Collected(new=0, known=3, differing=())
    put(incoming, Status.FAIL)
    assert collect(incoming, data) == Collected(new=0, known=2, differing=(name,))
    assert not list(data.glob("*/*/*.result.json"))


def test_an_accusation_that_is_compacted_can_be_withdrawn(tmp_path: Path) -> None:
    """The later result holds at once, and in the archive after the next compaction."""
    incoming, data = tmp_path / "incoming", tmp_path / "data"
    put(incoming, Status.FAIL)
    collect(incoming, data)
    archived(data)
    name = put(incoming, Status.REF_SUSPECT).relative_to(incoming).as_posix()
    assert collect(incoming, data) == Collected(new=0, known=0, differing=(), withdrawn=(name,))
    for _ in range(2):
        with store.opened(data) as found:
            assert [one.verdict.status for one in found.results()] == [Status.REF_SUSPECT]
        archived(data)
