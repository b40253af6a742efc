"""What is published for programs: the records of the JSON files, from which their JSON Schemas are made."""

from __future__ import annotations

import datetime as dt

from matrix.cells import Record
from matrix.results import Result, Status
from reports.adoption import Days
from reports.nights import Brought
from reports.proofs import FaultCoverage, MutationScore, VerdictPower
from reports.site.views import Trend
from reports.speeds import Changed
from reports.timeline import Step

SCHEMA_VERSION = 3
"""Of grid.json and of cells' files. 2: squares are an engine's channel, models are described, steps are told.
3: days to levels are intervals, and it is said from what they count."""


class SquareFile(Record, frozen=True, kw_only=True):
    """One square: a model on the newest release of an engine's channel, on one device."""

    model: str
    engine: str
    channel: str
    device: str
    release: str
    version: str
    build: str
    """`official`, `third-party` or `patched`."""
    level: int | None
    """Index into `levels`; null where nothing was decided."""
    level_name: str
    colour: str
    """`right`, `partly`, `wrong` or `grey`."""
    known: bool
    """Every fault of it is one that a rule expects."""
    blocked_by: str
    """What stands before the next level, or why nothing is known."""
    no_answer: str
    """Why the newest run did not settle what an earlier one had; empty where it did."""
    output_tokens_per_s: float | None
    """Of one request at a time."""
    measured_on: dt.date
    """UTC, of the oldest result that it stands on."""
    age_nights: int
    stale: bool
    since: dt.date | None
    """The first day of what it shows now."""
    trend: Trend
    """Whether the last change of level, if it is no older than 30 days, was up or down."""
    statuses: dict[str, dict[str, Status]]
    """By cell and probe."""
    cells: dict[str, str]
    """Pages by cell; with `.json` in the place of `.html` the same for programs."""
    minutes: float | None
    """That its cells took when they were last measured."""
    usd: float | None
    """What that cost, where the device has a price."""
    steps: tuple[Step, ...]
    """Everything that it has shown, the oldest first."""


class ModelFile(Record, frozen=True, kw_only=True):
    """What is known of a model."""

    organisation: str | None
    country: str | None
    licence: str | None
    released: dt.date | None
    architecture: str
    kinds: tuple[str, ...]
    parameters_total: int | None
    parameters_active: int | None
    context_length: int
    dtype: str
    page: str
    days_since: str
    """From what its days to levels count: its release, or that of its class in transformers."""
    days_to_levels: dict[str, dict[int, Days]]
    """By engine: days from then until its first release with each level that one of them has."""


class GridFile(Record, frozen=True, kw_only=True):
    """grid.json: what the first page says."""

    schema_version: int
    made_at: dt.datetime
    levels: tuple[str, ...]
    alerts: tuple[str, ...]
    """What a reader must know before believing the squares."""
    decided_share: float | None
    """Of the squares."""
    nights: tuple[Brought, ...]
    """Newest first."""
    left_out: dict[str, str]
    """Of the newest night: reasons by cell."""
    models: dict[str, ModelFile]
    squares: tuple[SquareFile, ...]
    speed_changes: tuple[Changed, ...]
    mutation_score: MutationScore
    fault_coverage: FaultCoverage
    verdict_power: VerdictPower


class CellFile(Record, frozen=True, kw_only=True):
    """cells/<cell>.json: all evidence of one cell."""

    schema_version: int
    cell_id: str
    results: tuple[Result, ...]
    """For each probe the newest that settled something."""
    later: tuple[Result, ...]
    """Newer ones that settled nothing."""
    log_tail: str
    began: dict[str, str] = {}
    """By probe, in which release its failure began, where that was searched."""
    repeat: tuple[str, ...]
    """Lines for a shell in a clone of this project."""
    minutes: float | None
    usd: float | None
