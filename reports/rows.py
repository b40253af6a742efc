"""A result as a row of a table, and back: the columns of the Parquet files that are published. Pure.

What is filtered and plotted, and what a level depends on, has a column of its own; what is only read back whole (the
cell's record, evidence, curves, the engine's command) is JSON text. Moments are UTC without saying so, as Parquet's
readers expect.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from matrix.cells import Cell
from matrix.results import Provenance, Result, Status, Verdict
from reports import levels

VERSION = 1
"""Of the columns, kept in every file's metadata by this key."""
VERSION_KEY = "readiness_rows"

RESULTS = {
    "run_id": "VARCHAR",
    "night": "VARCHAR",
    "started_at": "TIMESTAMP",
    "seconds": "DOUBLE",
    "cell_id": "VARCHAR",
    "model": "VARCHAR",
    "engine": "VARCHAR",
    "version": "VARCHAR",
    "channel": "VARCHAR",
    "build": "VARCHAR",
    "device": "VARCHAR",
    "config": "VARCHAR",
    "probe": "VARCHAR",
    "probe_version": "INTEGER",
    "tier": "VARCHAR",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "expected": "VARCHAR",
    "expected_reason": "VARCHAR",
    "numbers": "MAP(VARCHAR, DOUBLE)",
    "evidence": "VARCHAR",
    "curves": "VARCHAR",
    "answered": "BOOLEAN",
    "compared": "BOOLEAN",
    "measurement": "VARCHAR",
    "profile": "VARCHAR",
    "launcher": "VARCHAR",
    "machine": "VARCHAR",
    "driver": "VARCHAR",
    "harness_version": "VARCHAR",
    "engine_version": "VARCHAR",
    "build_note": "VARCHAR",
    "requirements_sha256": "VARCHAR",
    "image_digest": "VARCHAR",
    "model_digest": "VARCHAR",
    "command": "VARCHAR",
    "startup_s": "DOUBLE",
    "schema_version": "INTEGER",
    "cell": "VARCHAR",
}
"""SQL types by column: one row a result."""

CELLS = {"run_id": "VARCHAR", "cell_id": "VARCHAR", "log_tail": "VARCHAR", "seconds": "MAP(VARCHAR, DOUBLE)"}
"""One row a cell of a run: the end of the engine's log, and where its time went."""

RUNS = {"run_id": "VARCHAR", "cost": "VARCHAR"}
"""One row a run that knows what it cost."""

TABLES: dict[str, Mapping[str, str]] = {"results": RESULTS, "cells": CELLS, "runs": RUNS}

KEYS = {"results": ("run_id", "cell_id", "probe"), "cells": ("run_id", "cell_id"), "runs": ("run_id",)}
"""What no two rows of a table share."""


def row(result: Result) -> dict[str, Any]:
    """One result as values by column, ready for JSON."""
    cell, verdict, provenance = result.cell, result.verdict, result.provenance
    return {
        "run_id": provenance.run_id,
        "night": provenance.night,
        "started_at": provenance.started_at.astimezone(dt.UTC).replace(tzinfo=None),
        "seconds": provenance.seconds,
        "cell_id": result.cell_id,
        "model": cell.model.id,
        "engine": cell.release.engine,
        "version": cell.release.version,
        "channel": cell.release.channel,
        "build": provenance.build,
        "device": cell.device.id,
        "config": cell.config.id,
        "probe": result.probe,
        "probe_version": result.probe_version,
        "tier": result.tier,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "expected": verdict.expected.value,
        "expected_reason": verdict.expected_reason,
        "numbers": verdict.numbers,
        "evidence": _text(verdict.evidence),
        "curves": _text(verdict.curves),
        "answered": levels.answered(verdict.numbers),
        "compared": levels.compared(verdict.numbers),
        "measurement": result.measurement,
        "profile": provenance.profile,
        "launcher": provenance.launcher,
        "machine": provenance.machine,
        "driver": provenance.driver,
        "harness_version": provenance.harness_version,
        "engine_version": provenance.engine_version,
        "build_note": provenance.build_note,
        "requirements_sha256": provenance.requirements_sha256,
        "image_digest": provenance.image_digest,
        "model_digest": provenance.model_digest,
        "command": _text(provenance.command),
        "startup_s": provenance.startup_s,
        "schema_version": result.schema_version,
        "cell": _text(cell),
    }


def result(found: Mapping[str, Any]) -> Result:
    """The result that a row was made of; raises msgspec's errors where its texts are no JSON of what they should be."""
    of = cell(found["cell"])
    return Result(
        schema_version=found["schema_version"],
        cell=of,
        cell_id=found["cell_id"],
        probe=found["probe"],
        probe_version=found["probe_version"],
        tier=found["tier"],
        verdict=Verdict(
            status=Status(found["status"]),
            reason=found["reason"],
            evidence=msgspec.json.decode(found["evidence"], type=dict[str, str]),
            numbers=dict(found["numbers"] or {}),
            curves=msgspec.json.decode(found["curves"], type=dict[str, tuple[float, ...]]),
            expected=Status(found["expected"]),
            expected_reason=found["expected_reason"],
        ),
        provenance=Provenance(
            run_id=found["run_id"],
            started_at=found["started_at"].replace(tzinfo=dt.UTC),
            seconds=found["seconds"],
            harness_version=found["harness_version"],
            release_id=of.release.id,
            build=found["build"],
            build_note=found["build_note"],
            engine_version=found["engine_version"],
            requirements_sha256=found["requirements_sha256"],
            image_digest=found["image_digest"],
            model_digest=found["model_digest"],
            machine=found["machine"],
            driver=found["driver"],
            command=msgspec.json.decode(found["command"], type=tuple[str, ...]),
            startup_s=found["startup_s"],
            night=found["night"],
            profile=found["profile"],
            launcher=found["launcher"],
        ),
        measurement=found["measurement"],
    )


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as JSON, one a line."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in rows)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=10_000)
def cell(text: str) -> Cell:
    """The cell that a row tells; raises msgspec's errors where it is none."""
    return msgspec.json.decode(text, type=Cell)
