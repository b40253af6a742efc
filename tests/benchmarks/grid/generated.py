"""A generated history: what a project of this kind would hold after a year of nights. No engine ran for it."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from matrix.cells import Cell, Config, Device, FolderSource, Kind, Model, Release, Shape, Workload
from matrix.results import Result, write_result
from reports import rows, store
from reports.compact import copying
from reports.rows import RESULTS
from reports.runs import ARCHIVE

MODELS, ENGINES, NIGHTS = 60, 8, 350
PROBES = ("loading", "correctness", "state", "batch", "protocol", "throughput")
FIRST = dt.date(2025, 12, 15)
SHAPES = ("D1", "D16", "P")
MAKERS = ("Alpine", "Borealis", "Cumulus", "Dune", "Estuary", "Fjord")
KINDS: tuple[tuple[Kind, ...], ...] = (
    ("dense",),
    ("moe",),
    ("dense", "sliding-window"),
    ("moe", "mla"),
    ("moe", "linear-attention"),
)
LICENCES = ("Apache-2.0", "MIT", "Other")


def cells() -> list[Cell]:
    """Every model on every engine, on one kind of GPU."""
    workload = Workload(
        corpus_sequences=16, corpus_length=128, decode_sequences=16, decode_prompt_length=64, decode_tokens=64,
        shapes=tuple(Shape(id=name, prompt_tokens=128, output_tokens=128) for name in SHAPES),
    )  # fmt: skip
    device = Device(id="gpux1", kind="cuda", accelerators=1, workload=workload, price_per_hour=2.5)
    config = Config(id="default", description="What users run.", speed_counts=True)
    releases = [
        Release(engine=f"engine-{number}", version="1.4", channel="stable", build="official", released=FIRST)
        for number in range(ENGINES)
    ]
    return [
        Cell(release=release, model=_model(number), device=device, config=config)
        for number in range(MODELS)
        for release in releases
    ]


def _model(number: int) -> Model:
    return Model(
        id=f"model-{number:02d}",
        source=FolderSource(path=f"model-{number:02d}"),
        architecture=f"Model{number % 12}ForCausalLM",
        dtype="bfloat16",
        kinds=KINDS[number % len(KINDS)],
        context_length=131_072,
        parameters_total=(number + 1) * 700_000_000,
        parameters_active=(number + 1) * 200_000_000,
        released=FIRST + dt.timedelta(days=5 * number),
        licence=LICENCES[number % len(LICENCES)],
        organisation=MAKERS[number % len(MAKERS)],
        country="FR",
    )


def archive(folder: Path, nights: int = NIGHTS) -> None:
    """Write all nights but the last as the archive of a folder of results, a file a month and table."""
    with duckdb.connect() as connection:
        _cells_table(connection)
        last = FIRST + dt.timedelta(days=nights - 2)
        month = FIRST.replace(day=1)
        while month <= last:
            after = (month + dt.timedelta(days=32)).replace(day=1)
            window = (max(month, FIRST), min(after, last + dt.timedelta(days=1)))
            for table, sql in (("results", _RESULTS), ("cells", _CELLS)):
                _write(connection, folder, table, sql, month, window)
            month = after


def night(folder: Path, number: int, nights: int = NIGHTS) -> int:
    """Write one night as a run leaves it, in JSON; returns how many results."""
    day = FIRST + dt.timedelta(days=nights - 1 + number)
    with duckdb.connect() as connection:
        _cells_table(connection)
        cursor = connection.execute(_RESULTS, {"first": day, "end": day + dt.timedelta(days=1)})
        names = [column[0] for column in cursor.description or ()]
        found = [rows.result(dict(zip(names, values, strict=True))) for values in cursor.fetchall()]
    for result in found:
        write_result(folder / result.provenance.run_id, result)
    return len(found)


def newest(folder: Path) -> list[Result]:
    """The results of the last night."""
    with store.opened(folder) as found:
        return found.results("started_at >= (SELECT CAST(max(started_at) AS DATE) FROM results)")


def _cells_table(connection: duckdb.DuckDBPyConnection) -> None:
    made: list[dict[str, Any]] = [
        {
            "n": number, "cell_id": cell.id, "model": cell.model.id, "engine": cell.release.engine,
            "cell": msgspec.json.encode(cell).decode(),
        }
        for number, cell in enumerate(cells())
    ]  # fmt: skip
    with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
        file.write(rows.lines(made))
        file.flush()
        connection.execute("CREATE TABLE c AS FROM read_json(?)", [file.name])


def _write(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    table: str,
    sql: str,
    month: dt.date,
    window: tuple[dt.date, dt.date],
) -> None:
    path = folder / ARCHIVE / table / f"month={month:%Y-%m}" / "generated.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    first, end = (f"DATE '{day}'" for day in window)
    bound = sql.replace("$first", first).replace("$end", end)
    connection.execute(copying(table, f"({bound})", path))


# A place is right or wrong for a month at a time; one night in fifty is an error of ours, one in thirty has a gap.
# Speeds keep within 2%, a device's own within 0.5%; one cell in twenty is a tenth slower for a quarter of a year.
_COLUMNS = {
    "run_id": "strftime(day, '%Y%m%dT020000Z-abcdef')",
    "night": "strftime(day, '%Y%m%d')",
    "started_at": "day + INTERVAL (n * 60 + k) SECOND",
    "seconds": "20 + random() * 60",
    "version": "'1.4'",
    "channel": "'stable'",
    "build": "'official'",
    "device": "'gpux1'",
    "config": "'default'",
    "probe": "probe",
    "probe_version": "1",
    "tier": "'smoke'",
    "status": """CASE WHEN hash(n, k, day, 1) % 50 = 0 THEN 'ERROR'
        WHEN probe <> 'loading' AND hash(n, k, date_trunc('month', day)) % 25 = 0 THEN 'FAIL' ELSE 'PASS' END""",
    "reason": """'prefill: ' || round(random() * 2, 2) || ' x the model''s own rounding noise (99.9% interval 0.8-1.2)'
        || '; decode: ' || round(random() * 2, 2) || ' x the model''s own rounding noise (99.9% interval 0.7-1.3)'""",
    "expected": "'PASS'",
    "expected_reason": "''",
    "numbers": """CASE probe WHEN 'throughput' THEN MAP(
        ['D1_speed_per_s', 'D1_output_tokens_per_s', 'D1_mbu', 'D16_speed_per_s', 'P_speed_per_s', 'P_mfu',
         'D1_rho_peer', 'device_bandwidth_bytes_per_s', 'device_flops_per_s'],
        list_transform([40, 40, 0.6, 500, 9000, 0.5, 1.0], lambda x: x * (0.98 + random() * 0.04)
            * (CASE WHEN hash(n, date_trunc('quarter', day)) % 20 = 0 THEN 0.9 ELSE 1 END))
        || list_transform([3e12, 9e14], lambda x: x * (0.995 + random() * 0.01)))
        ELSE MAP(['prefill_ratio', 'prefill_nonfinite', 'decode_ratio', 'decode_nonfinite'],
            [random() + 0.5, 0, 1.0, 0]) END""",
    "evidence": "'{}'",
    "curves": """CASE probe WHEN 'correctness' THEN json_object(
        'prefill_position', range(0, 128, 4),
        'prefill_engine_nats', list_transform(range(32), lambda x: round(random(), 3)),
        'prefill_noise_low_nats', list_transform(range(32), lambda x: round(random() / 2, 3)),
        'prefill_noise_high_nats', list_transform(range(32), lambda x: round(random() + 0.5, 3)))
        WHEN 'throughput' THEN json_object(
            'D1_ttft_s', list_transform(range(5), lambda x: round(0.1 + random() / 10, 4)))
        ELSE '{}' END""",
    "answered": "true",
    "compared": "probe = 'throughput'",
    "measurement": "probe || '.measurement.json'",
    "profile": "'nightly'",
    "launcher": "'docker'",
    "driver": "'580.65.06'",
    "machine": "'a processor, 16 cores, 128 GiB, Linux glibc 2.36'",
    "harness_version": "'0.1.0+' || repeat('ab', 20)",
    "engine_version": "'1.4'",
    "build_note": "''",
    "requirements_sha256": "NULL",
    "image_digest": "'sha256:' || repeat('cd', 32)",
    "model_digest": "repeat('ef', 32)",
    "command": """'["serve","--model","MODEL","--port","8000"]'""",
    "startup_s": "30 + random() * 20",
    "schema_version": "4",
}

_FROM = f"""FROM c, (SELECT unnest({list(PROBES)}) AS probe, unnest(range({len(PROBES)})) AS k),
    (SELECT CAST(unnest(range($first, $end, INTERVAL 1 DAY)) AS TIMESTAMP) AS day)
    WHERE hash(n, k, day, 2) % 30 <> 0"""

_SELECTED = ", ".join(f"CAST({_COLUMNS.get(name, name)} AS {kind}) AS {name}" for name, kind in RESULTS.items())

_RESULTS = f"SELECT {_SELECTED} {_FROM}"

_CELLS = f"""SELECT DISTINCT strftime(day, '%Y%m%dT020000Z-abcdef') AS run_id, cell_id,
    repeat('INFO: a line of the log of an engine that ran ' || cell_id || chr(10), 40) AS log_tail,
    MAP(['start', 'probes'], [40.0, 120.0]) AS seconds {_FROM}"""
