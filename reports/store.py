"""All results of a folder as tables: what is compacted in its archive, and the runs that still lie there as JSON.

DuckDB reads both; nothing is loaded whole. Where a row is in both, the JSON holds: it is nearer to the run. A file of
the archive that is damaged or of another version is named among the problems, and the others are read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec

from matrix.plan import Night
from matrix.results import Result
from matrix.untrusted import TEXT, safe
from reports import rows, runs
from reports.rows import KEYS, TABLES
from reports.runs import ARCHIVE, ASIDE, Run, Runs

T = TypeVar("T")

MEMORY_LIMIT = "1GB"
"""DuckDB's own; beyond it, it writes to disk."""


class Store:
    """An opened folder of results; `opened` makes one."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder = folder
        self.fresh: Runs = runs.read(folder)
        self._connection = connection
        self._damaged: dict[Path, str] = {}
        self._notes: list[str] = []
        for table in TABLES:
            self._load_fresh(table)
        self._surviving(self._attach)

    @property
    def nights(self) -> tuple[Night, ...]:
        """Nightly runs, oldest first."""
        return self.fresh.nights

    @property
    def problems(self) -> tuple[str, ...]:
        """Files that could not be read and why, and those that were set aside before."""
        aside = [path for path in sorted((self.folder / ASIDE).rglob("*")) if path.is_file()]
        told = [f"{self.folder / ASIDE}: {len(aside)} files that could not be read"] if aside else []
        return (*self.fresh.problems, *self._damaged.values(), *self._notes, *told)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Rows of `results`, `cells` or `runs` by SQL. A file found damaged on the way is left out, and named."""
        return self._surviving(lambda: self._ask(sql, parameters))

    def numbers(self, sql: str, parameters: Sequence[object] = ()) -> dict[str, Any]:
        """The same as one NumPy array a column, for what has many rows."""
        return self._surviving(lambda: self._connection.execute(sql, list(parameters)).fetchnumpy())

    def results(self, where: str = "true", parameters: Sequence[object] = ()) -> list[Result]:
        """Results that an SQL condition holds for, in the order of measuring; each is made whole, so ask for few."""
        found = self.query(f"SELECT * FROM results WHERE {where} ORDER BY started_at, cell_id, run_id", parameters)
        return [rows.result(one) for one in found]

    def _ask(self, sql: str, parameters: Sequence[object]) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, list(parameters))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def _load_fresh(self, table: str) -> None:
        load(self._connection, f"fresh_{table}", table, [row for run in self.fresh.runs for row in rows_of(run)[table]])

    def _attach(self) -> None:
        """Make the views anew, over the files of the archive that can be read."""
        self._notes = []
        for table in TABLES:
            for path in archived(self.folder, table):
                if path not in self._damaged and (why := unknown(self._connection, path)):
                    self._damaged[path] = f"{path}: {why}"
            self._view(table, [path for path in archived(self.folder, table) if path not in self._damaged])

    def _view(self, table: str, files: list[Path]) -> None:
        run = self._connection.execute
        if not files:
            run(f"CREATE OR REPLACE VIEW {table} AS FROM fresh_{table}")
            return
        columns, key = ", ".join(TABLES[table]), ", ".join(KEYS[table])
        run(f"CREATE OR REPLACE VIEW all_{table} AS FROM {reading(self._connection, table, files)}")
        # A run may lie in two files where a compaction was cut short; the newer file holds.
        run(
            f"CREATE OR REPLACE TABLE doubled AS SELECT {key}, filename FROM all_{table} WHERE run_id IN"
            f" (SELECT run_id FROM all_{table} GROUP BY run_id HAVING count(DISTINCT filename) > 1)"
        )
        run(
            f"CREATE OR REPLACE TABLE hidden_{table} AS FROM doubled"
            f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY filename DESC) > 1"
        )
        self._tell_doubled(table)
        # What takes rows out costs each question; mostly there are none to take.
        without = ""
        if self._any(f"FROM hidden_{table}"):
            without += f" ANTI JOIN hidden_{table} USING ({key}, filename)"
        if self._any(f"FROM all_{table} SEMI JOIN fresh_{table} USING (run_id)"):
            without += f" ANTI JOIN fresh_{table} USING ({key})"
        run(
            f"CREATE OR REPLACE VIEW {table} AS SELECT {columns} FROM all_{table}{without}"
            f" UNION ALL SELECT {columns} FROM fresh_{table}"
        )

    def _any(self, rows_of: str) -> bool:
        return bool(self._ask(f"SELECT 1 {rows_of} LIMIT 1", ()))

    def _tell_doubled(self, table: str) -> None:
        counted = self._ask(
            f"SELECT filename, count(*) AS n FROM hidden_{table} GROUP BY filename ORDER BY filename", ()
        )
        self._notes += [f"{one['filename']}: {one['n']} rows of {table} that a newer file holds too" for one in counted]

    def _surviving(self, ask: Callable[[], T]) -> T:
        """Ask, and ask again without the files of the archive that turn out to be damaged."""
        while True:
            try:
                return ask()
            except duckdb.Error:
                before = len(self._damaged)
                for path in [path for table in TABLES for path in archived(self.folder, table)]:
                    if path not in self._damaged and (why := damage(self._connection, path)):
                        self._damaged[path] = f"{path}: {why}"
                if len(self._damaged) == before:
                    raise  # not a file's fault
                self._attach()


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Open a folder of results; one that does not exist is empty."""
    with tempfile.TemporaryDirectory(prefix="readiness-") as spill, duckdb.connect() as connection:
        connection.execute("SET memory_limit = ?", [MEMORY_LIMIT])
        connection.execute("SET temp_directory = ?", [spill])
        connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        yield Store(folder, connection)


def archived(folder: Path, table: str) -> list[Path]:
    """The files of a table in a folder's archive, oldest first."""
    return sorted((folder / ARCHIVE / table).glob("month=*/*.parquet"))


def rows_of(run: Run) -> dict[str, list[dict[str, Any]]]:
    """What a run that lies there as JSON has for each table."""
    seconds = {one.cell_id: one.seconds for one in run.timings}
    tails = {path.parent.name: safe(path.read_text(errors="replace"), TEXT) for path in run.log_tails}
    cells = [
        {"run_id": run.run_id, "cell_id": cell, "log_tail": tails.get(cell), "seconds": seconds.get(cell, {})}
        for cell in sorted({*seconds, *tails})
    ]
    cost = [] if run.cost is None else [{"run_id": run.run_id, "cost": msgspec.json.encode(run.cost).decode()}]
    return {"results": [rows.row(result) for result in run.results], "cells": cells, "runs": cost}


def load(connection: duckdb.DuckDBPyConnection, name: str, table: str, found: list[dict[str, Any]]) -> None:
    """Put rows into a new table in memory."""
    types = ", ".join(f"{column} {kind}" for column, kind in TABLES[table].items())
    connection.execute(f"CREATE OR REPLACE TABLE {name} ({types})")
    if not found:
        return
    with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
        file.write(rows.lines(found))
        file.flush()
        columns = ", ".join(f"{column}: {quoted(kind)}" for column, kind in TABLES[table].items())
        connection.execute(
            f"INSERT INTO {name} FROM read_json({quoted(file.name)}, format = 'newline_delimited',"
            f" columns = {{{columns}}}, maximum_object_size = 100000000)"
        )


def reading(connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path]) -> str:
    """Files of one table as SQL; each row says from which it comes. A column that none of them has yet is NULL."""
    found = {one[0] for one in connection.execute(f"DESCRIBE FROM {_parquet(files)}").fetchall()}
    lacking = {column: kind for column, kind in TABLES[table].items() if column not in found}
    more = "".join(f", CAST(NULL AS {kind}) AS {column}" for column, kind in lacking.items())
    return f"(SELECT *{more} FROM {_parquet(files)})" if more else _parquet(files)


def _parquet(files: Sequence[Path]) -> str:
    names = ", ".join(quoted(str(path)) for path in files)
    # The month is the folder's name for whoever reads a part alone; our columns do not hold it.
    return f"read_parquet([{names}], union_by_name = true, filename = true, hive_partitioning = false)"


def unknown(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Why a file cannot be one of the archive's, by its metadata; empty where it can."""
    try:
        found = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    version = {bytes(key).decode(): bytes(value).decode() for key, value in found}.get(rows.VERSION_KEY)
    return "" if version == str(rows.VERSION) else f"columns of version {version}, this program reads {rows.VERSION}"


def damage(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """What is wrong with a file when every value of it is read; empty where nothing is."""
    try:
        connection.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {_parquet([path])}").fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    return unknown(connection, path)


def quoted(text: str) -> str:
    """An SQL string."""
    return "'" + text.replace("'", "''") + "'"
