"""Stored speeds as histories: one a load shape of an engine with a model on a machine, across releases. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from matrix.cells import Record, Shape
from matrix.results import Result
from reports.history import Change, Night, changes

PROBE = "throughput"

CANARY = {"bandwidth": "device_bandwidth_bytes_per_s", "flops": "device_flops_per_s"}
"""The device's own speed that a load shape's is divided by, by the bound that it runs into."""


class Series(Record, frozen=True, kw_only=True):
    """What stays the same over nights; the release is what changes."""

    engine: str
    channel: str
    build: str
    model: str
    device: str
    config: str
    machine: str
    shape: str


class Changed(Record, frozen=True, kw_only=True):
    """A change, and where."""

    series: Series
    change: Change

    @property
    def sentence(self) -> str:
        """In words."""
        of = self.series
        return f"{of.model} on {of.engine} ({of.channel}, {of.device}), {of.shape}: {self.change.sentence}"


def changed(results: Iterable[Result]) -> list[Changed]:
    """Every change of every series, newest first."""
    found = [
        Changed(series=series, change=change)
        for series, nights in histories(results).items()
        for change in changes(nights)
    ]
    return sorted(found, key=lambda one: one.change.day, reverse=True)


def histories(results: Iterable[Result]) -> dict[Series, list[Night]]:
    """The nights of every series, oldest first; of several measurements of a day the last counts.

    None on devices where speeds are not judged: machines there differ from night to night.
    """
    measured: dict[Series, dict[dt.date, Result]] = {}
    for result in sorted(results, key=lambda result: result.provenance.started_at):
        if result.probe == PROBE and result.verdict.status.decided and result.cell.device.speed_judged:
            day = result.provenance.started_at.astimezone(dt.UTC).date()
            for shape in result.cell.device.workload.shapes:
                if _speed(result, shape.id):
                    measured.setdefault(_series(result, shape), {})[day] = result
    return {series: _nights(by_day, series) for series, by_day in measured.items()}


def series_of(result: Result) -> list[Series]:
    """Those that a result belongs to, in the order of the load shapes."""
    return [_series(result, shape) for shape in result.cell.device.workload.shapes]


def _series(result: Result, shape: Shape) -> Series:
    cell = result.cell
    return Series(
        engine=cell.release.engine,
        channel=cell.release.channel,
        build=cell.build,
        model=cell.model.id,
        device=cell.device.id,
        config=cell.config.id,
        machine=result.provenance.machine,
        shape=shape.id,
    )


def _nights(by_day: Mapping[dt.date, Result], series: Series) -> list[Night]:
    canaries = [_canary(result, series.shape) for result in by_day.values()]
    return [
        Night(day=day, speed=_speed(result, series.shape) * scale, setting=_setting(result))
        for (day, result), scale in zip(by_day.items(), _scales(canaries), strict=True)
    ]


def _speed(result: Result, shape_id: str) -> float:
    """What is compared between nights; 0 where there is none at this shape."""
    return result.verdict.numbers.get(f"{shape_id}_speed_per_s", 0.0)


def _canary(result: Result, shape_id: str) -> float | None:
    shape = next(shape for shape in result.cell.device.workload.shapes if shape.id == shape_id)
    return result.verdict.numbers.get(CANARY[shape.bound])


def _scales(canaries: Sequence[float | None]) -> list[float]:
    """What to multiply each night with, so that the device's own speed was the same; 1 where a night does not know."""
    known = [canary for canary in canaries if canary]
    if len(known) < len(canaries):
        return [1.0] * len(canaries)
    return [float(np.median(known)) / canary for canary in known]


def _setting(result: Result) -> dict[str, str]:
    """What could change a speed, by name; what is not known is left out."""
    provenance = result.provenance
    known = {
        "engine": result.cell.release.version,
        "engine says": provenance.engine_version,
        "image": provenance.image_digest,
        "requirements": provenance.requirements_sha256,
        "model revision": provenance.model_digest,
        "device": result.verdict.evidence.get("device"),
        "probe": str(result.probe_version),
        "harness": provenance.harness_version,
    }
    return {name: value for name, value in known.items() if value}
