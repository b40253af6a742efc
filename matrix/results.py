"""What came of a cell: measurements, verdicts and results, and their files.

A run is a folder `results/<run id>/`. For each cell it holds one folder with, per probe, a measurement
(`<probe>.measurement.json`, written before judging) and a result (`<probe>.result.json`). Large arrays lie in
`tables/<sha256>.npz`, named by their content, so that cells share them.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import io
import math
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from matrix.cells import Cell, FileName, Model, Record
from matrix.errors import ReadinessError
from matrix.untrusted import SENTENCE, TEXT, redacted_values, safe

SCHEMA_VERSION = 4
"""Of the files that are written. 2: no curves in a verdict; 3: no driver in the provenance."""
READABLE_VERSIONS = (2, 3, 4)

RESULT_ENDING = ".result.json"
"""Of the file of a result, behind the probe's name."""
LOG_TAIL = "log_tail.txt"
"""The last lines of an engine's log, in its cell's folder."""

Table = dict[str, npt.NDArray[Any]]

T = TypeVar("T")


class Status(enum.Enum):
    """The outcome of one probe of one cell."""

    PASS = "PASS"
    DEGRADED = "DEGRADED"
    FAIL = "FAIL"
    CRASH = "CRASH"
    TIMEOUT = "TIMEOUT"
    ERROR = "ERROR"
    SKIP = "SKIP"
    NOTRUN = "NOTRUN"
    UNDECIDED = "UNDECIDED"
    REF_SUSPECT = "REF-SUSPECT"
    """Engines of different lineage agree with each other against the reference: one of the two sides is wrong, and
    nobody knows which. Or a rule says, with a reason, that the reference errs."""

    @property
    def blames_engine(self) -> bool:
        """True where the engine is at fault."""
        return self in (Status.DEGRADED, Status.FAIL, Status.CRASH, Status.TIMEOUT)

    @property
    def decided(self) -> bool:
        """True where the engine was judged or broke by itself."""
        return self is Status.PASS or self.blames_engine

    @property
    def settles(self) -> bool:
        """True where it takes the place of what an earlier run has decided; a suspected reference had decided that."""
        return self.decided or self is Status.REF_SUSPECT

    @property
    def measured(self) -> bool:
        """False where asking once more may well give an answer: something of ours was in the way."""
        return self not in (Status.ERROR, Status.NOTRUN)


class Verdict(Record, frozen=True, kw_only=True):
    """What a measurement means: a status and the sentence that explains it."""

    status: Status
    reason: str
    evidence: dict[str, str] = {}
    """Short named texts a reader may want: log tail, the first wrong position."""
    numbers: dict[str, float] = {}
    """Named numbers with their unit in the name, for tables and trends."""
    curves: dict[str, tuple[float, ...]] = {}
    """Named series with their unit in the name, for pictures: a few dozen points each."""
    expected: Status = Status.PASS
    expected_reason: str = ""

    @property
    def unexpected(self) -> bool:
        """True where it is news: the engine's fault unforeseen, or a foreseen fault that is gone."""
        if self.status.blames_engine:
            return self.status is not self.expected
        return self.status is Status.PASS and self.expected is not Status.PASS


class Measurement(Record, frozen=True, kw_only=True):
    """Raw numbers of one probe: `values` is JSON, `tables` hold arrays by name."""

    values: dict[str, Any]
    tables: dict[str, Table] = {}


class Provenance(Record, frozen=True, kw_only=True):
    """Where a result comes from: enough to repeat it, nothing that names the machine."""

    run_id: FileName
    started_at: dt.datetime
    """UTC."""
    seconds: float
    """Wall clock of this probe."""
    harness_version: str
    release_id: str
    build: str
    build_note: str
    engine_version: str | None
    """What the running engine says of itself."""
    requirements_sha256: str | None
    image_digest: str | None
    model_digest: str | None
    machine: str
    """Processor, cores, memory, operating system."""
    driver: str | None = None
    """Version of the accelerators' driver, where there are any."""
    command: tuple[str, ...] = ()
    """The engine's command line, with the environment and the model named by placeholders."""
    startup_s: float | None = None
    night: FileName | None = None
    """The nightly run that it belongs to; None for a run by hand."""
    profile: str = ""
    launcher: str = ""


class Result(Record, frozen=True, kw_only=True):
    """The file that everything else is made from."""

    schema_version: int
    cell: Cell
    cell_id: str
    probe: str
    probe_version: int
    tier: str
    verdict: Verdict
    provenance: Provenance
    measurement: str | None = None
    """File name of the measurement beside this result."""


class Timings(Record, frozen=True, kw_only=True):
    """Where the time of one cell went: seconds by part."""

    cell_id: str
    seconds: dict[str, float]


class SchemaError(ReadinessError):
    """A result file that this version cannot read; the message says what to do."""


class _StoredMeasurement(Record, frozen=True, kw_only=True):
    schema_version: int
    values: dict[str, Any]
    tables: dict[str, str]


def write_bytes(path: Path, data: bytes) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write any record or JSON value atomically and indented."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def read_json(path: Path, type: type[T]) -> T:
    """Read one record; SchemaError names the file and what is wrong with it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except (msgspec.MsgspecError, OSError) as error:
        raise SchemaError(f"{path}: not a readable {type.__name__}: {error}") from error


def read_result(path: Path) -> Result:
    """Read one result; a schema version this code does not know is refused with advice."""
    header = read_json(path, dict[str, Any])
    _check_version(path, header.get("schema_version"))
    found = read_json(path, Result)
    # Names become paths of pages and of logs: only those that a cell can have are taken from a file.
    if found.cell_id != found.cell.id or path.parts[-2:] != (found.cell_id, _result_name(found.probe)):
        raise SchemaError(f"{path}: holds {found.probe} of {found.cell_id}, which is not what its place says")
    return _storable(found)


def _check_version(path: Path, version: object) -> None:
    if version not in READABLE_VERSIONS:
        raise SchemaError(
            f"{path}: schema version {version!r}, this program reads {', '.join(map(str, READABLE_VERSIONS))}: "
            "use the program version that wrote it, or run the cell again"
        )


def write_result(run: Path, result: Result) -> Path:
    """Store a result in its run, fit to be shown to anybody; returns the file."""
    path = run / result.cell_id / _result_name(result.probe)
    write_json(path, msgspec.structs.replace(_storable(result), schema_version=SCHEMA_VERSION))
    return path


def _storable(result: Result) -> Result:
    """Without secrets and control characters in what an engine has said, and with finite numbers alone.

    What is read is made so too: a file may be an older program's, or somebody else's.
    """
    verdict, said = result.verdict, result.provenance.engine_version
    provenance = msgspec.structs.replace(
        result.provenance,
        engine_version=None if said is None else safe(said, SENTENCE),
        machine=safe(result.provenance.machine, SENTENCE),
    )
    # JSON has no NaN and no infinity; the sentence of such a verdict says what was not finite.
    verdict = msgspec.structs.replace(
        verdict,
        reason=safe(verdict.reason, SENTENCE),
        expected_reason=safe(verdict.expected_reason, SENTENCE),
        evidence={safe(name, SENTENCE): safe(text, TEXT) for name, text in verdict.evidence.items()},
        numbers={name: value for name, value in verdict.numbers.items() if math.isfinite(value)},
        curves={name: curve for name, curve in verdict.curves.items() if all(map(math.isfinite, curve))},
    )
    cell = msgspec.structs.replace(result.cell, model=_plain(result.cell.model))
    return msgspec.structs.replace(result, cell=cell, verdict=verdict, provenance=provenance)


def _plain(model: Model) -> Model:
    """The same for what a hub says of a model."""
    said = {name: getattr(model, name) for name in ("architecture", "licence", "organisation", "country", "note")}
    return msgspec.structs.replace(
        model, **{name: None if text is None else safe(text, SENTENCE) for name, text in said.items()}
    )


def _result_name(probe: str) -> str:
    return f"{probe}{RESULT_ENDING}"


def write_measurement(run: Path, cell_id: str, probe: str, measurement: Measurement) -> Path:
    """Store a measurement and its tables; returns the measurement's file. Of its texts the secrets are taken out."""
    names = {name: _write_table(run / "tables", table) for name, table in measurement.tables.items()}
    path = run / cell_id / f"{probe}.measurement.json"
    values = redacted_values(measurement.values)
    stored = _StoredMeasurement(schema_version=SCHEMA_VERSION, values=values, tables=names)
    write_json(path, stored)
    return path


def read_measurement(path: Path) -> Measurement:
    """Read a measurement with its tables from a run's cell folder."""
    stored = read_json(path, _StoredMeasurement)
    _check_version(path, stored.schema_version)
    folder = path.parent.parent / "tables"
    return Measurement(values=stored.values, tables={n: _read_table(folder / f) for n, f in stored.tables.items()})


def _write_table(folder: Path, table: Table) -> str:
    digest = hashlib.sha256()
    for name in sorted(table):
        array = table[name]
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    file_name = f"{digest.hexdigest()}.npz"
    if not (folder / file_name).exists():
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **table)
        write_bytes(folder / file_name, buffer.getvalue())
    return file_name


def _read_table(path: Path) -> Table:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise SchemaError(f"{path}: not a readable table: {error}") from error
