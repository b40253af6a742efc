"""Compact runs into Parquet files by month: written, read back and compared before anything is taken away.

A night adds one file a table; once a month is over, its files become one. Files that nobody can read are set aside with
their place, and stay there until somebody looks.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from matrix.cells import Record
from reports import rows, store
from reports.rows import KEYS, TABLES
from reports.runs import ARCHIVE, ASIDE, Run
from reports.store import Store, reading

ORDER = {"results": "probe, cell_id, started_at, run_id", "cells": "cell_id, run_id", "runs": "run_id"}
"""Of rows in a file: what is asked for together lies together, and like stands beside like."""

ROW_GROUP = 8192
"""Rows that a reader takes or leaves together: who asks for one probe does not read the others."""

UNFINISHED, MERGED = ".unfinished", "-merged"
"""In the names of files that are being written, and of those that hold a month."""


class Compacted(Record, frozen=True, kw_only=True):
    """What one compaction did."""

    runs: int
    """That were old enough."""
    new: int
    """Rows of results that were in no file of the archive."""
    replaced: int
    """Rows that were there with other values; a newer file holds them now."""
    removed: int
    """JSON and text files that were taken away."""
    aside: tuple[str, ...]
    """Files that could not be read, by their place in the folder of results."""
    merged: int
    """Files of months that are over, which became one each."""


class ArchiveDiffers(Exception):
    """What was read back is not what was written: our fault, or the disk's; nothing has been taken away."""


def compact(found: Store, *, before: dt.date, remove: bool, now: dt.datetime) -> Compacted:
    """Bring all runs that began before a day (UTC) into the archive; with `remove`, take their files away after.

    Raises ArchiveDiffers, and duckdb's errors where the disk is full: then nothing has been taken away.
    """
    old = [run for run in found.fresh.runs if (day := _began(run)) is not None and day < before]
    with _Archive(found.folder, now) as archive:
        aside = [archive.set_aside(file.path) for run in old for file in run.unreadable]
        by_month: dict[str, list[dict[str, list[dict[str, Any]]]]] = {}
        for run in old:
            by_month.setdefault(f"{_began(run):%Y-%m}", []).append(store.rows_of(run))
        new = replaced = 0
        for month, of_runs in by_month.items():
            for table in TABLES:
                counts = archive.add(table, month, [row for tables in of_runs for row in tables[table]])
                if table == "results":
                    new, replaced = new + counts[0], replaced + counts[1]
        merged = sum(archive.merge(table) for table in TABLES)
    removed = sum(_remove(run) for run in old) if remove else 0
    return Compacted(
        runs=len(old), new=new, replaced=replaced, removed=removed, aside=(*aside, *archive.damaged), merged=merged
    )


def _began(run: Run) -> dt.date | None:
    """The day (UTC) on which a run began, by its results, else by its name; None where neither says."""
    if run.results:
        return min(result.provenance.started_at for result in run.results).astimezone(dt.UTC).date()
    try:
        return dt.datetime.strptime(run.run_id[:8], "%Y%m%d").date()
    except ValueError:
        return None


class _Archive:
    """The archive of a folder of results, while it is written."""

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self.folder, self.now = folder, now
        self.damaged: list[str] = []
        self._connection = duckdb.connect()

    def __enter__(self) -> _Archive:
        for left in (self.folder / ARCHIVE).glob(f"*/*/*{UNFINISHED}"):
            left.unlink()  # of a compaction that was cut short
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, table: str, month: str, found: list[dict[str, Any]]) -> tuple[int, int]:
        """Write those rows that the archive does not hold as they are; returns how many are new, how many replaced."""
        run, key = self._connection.execute, ", ".join(KEYS[table])
        store.load(self._connection, "incoming", table, found)
        run("CREATE OR REPLACE TABLE held AS FROM incoming LIMIT 0")
        files = self._files(table, month)
        if files:
            run(f"INSERT INTO held {_newest(self._connection, table, files, also=f'SEMI JOIN incoming USING ({key})')}")
        run("CREATE OR REPLACE TABLE adding AS FROM incoming EXCEPT FROM held")
        counting = f"SELECT count(*), count(*) FILTER (WHERE ({key}) IN (SELECT ({key}) FROM held)) FROM adding"
        ((adding, replaced),) = run(counting).fetchall()
        if adding:
            name = f"{self.now:%Y%m%dT%H%M%S.%f}Z.parquet"
            self._write(table, "adding", self.folder / ARCHIVE / table / f"month={month}" / name)
        return adding - replaced, replaced

    def merge(self, table: str) -> int:
        """Make one file of each month that is over and has several; returns how many those were."""
        merged = 0
        for place in sorted((self.folder / ARCHIVE / table).glob("month=*")):
            month = place.name.partition("=")[2]
            if month >= f"{self.now:%Y-%m}" or len(files := self._files(table, month)) < 2:
                continue
            self._connection.execute(f"CREATE OR REPLACE TABLE whole AS {_newest(self._connection, table, files)}")
            # Cut short after this, the rows are there twice, which a reader says and the next compaction ends.
            target = place / f"{files[-1].stem.removesuffix(MERGED)}{MERGED}.parquet"
            self._write(table, "whole", target)
            for path in files:
                if path != target:
                    path.unlink()
            merged += len(files)
        return merged

    def set_aside(self, path: Path) -> str:
        """Move a file that nobody can read; returns its place in the folder of results."""
        name = path.relative_to(self.folder)
        target = self.folder / ASIDE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        return name.as_posix()

    def _files(self, table: str, month: str) -> list[Path]:
        """The files of a month, oldest first; damaged ones are set aside."""
        files = [path for path in store.archived(self.folder, table) if path.parent.name == f"month={month}"]
        damaged = [path for path in files if store.damage(self._connection, path)]
        self.damaged += [self.set_aside(path) for path in damaged]
        return [path for path in files if path not in damaged]

    def _write(self, table: str, source: str, path: Path) -> None:
        """Write a table in memory to a file, read it back, and only then give it its name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(UNFINISHED)
        self._connection.execute(copying(table, source, unfinished))
        again = f"SELECT {', '.join(TABLES[table])} FROM {reading(self._connection, table, [unfinished])}"
        ((differing,),) = self._connection.execute(
            f"SELECT count(*) FROM ((FROM {source} EXCEPT ALL {again}) UNION ALL ({again} EXCEPT ALL FROM {source}))"
        ).fetchall()
        if differing:
            unfinished.unlink()
            raise ArchiveDiffers(f"{path}: {differing} rows read back differ from those that were written")
        os.replace(unfinished, path)


def copying(table: str, source: str, path: Path) -> str:
    """Write the rows of a table or subquery to a file of the archive, in SQL."""
    return (
        f"COPY (FROM {source} ORDER BY {ORDER[table]}) TO {store.quoted(str(path))} (FORMAT parquet, COMPRESSION zstd,"
        f" ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{rows.VERSION_KEY}: '{rows.VERSION}'}})"
    )


def _newest(connection: duckdb.DuckDBPyConnection, table: str, files: list[Path], also: str = "") -> str:
    """The rows of some files, in SQL; of those with the same key that of the newest file."""
    columns, key = ", ".join(TABLES[table]), ", ".join(KEYS[table])
    return (
        f"SELECT {columns} FROM {reading(connection, table, files)} {also}"
        f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY filename DESC) = 1"
    )


def _remove(run: Run) -> int:
    """Take away the files that the archive holds, and folders that are empty after it; what came later stays."""
    files = run.files
    for path in files:
        path.unlink()
    for folder in (*(path for path in run.folder.iterdir() if path.is_dir()), run.folder):
        if not any(folder.iterdir()):
            folder.rmdir()
    return len(files)
