"""Stored speeds as histories: one a load shape of an engine with a model on a machine, across releases. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from matrix.cells import Cell, Record, Shape
from reports.history import Change, Night, changes

PROBE = "throughput"
PACE = "_speed_per_s"
"""The ending of a throughput number that is compared between nights."""

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


class Measured(Record, frozen=True, kw_only=True):
    """One measurement of a series."""

    series: Series
    started_at: dt.datetime
    """UTC, without saying so."""
    speed: float
    """What is compared between nights; larger is better."""
    canary: float | None
    """The device's own speed beside it; None where it was not measured."""
    setting: Mapping[str, str]
    """What could change a speed, by name; what is not known is left out."""


class Changed(Record, frozen=True, kw_only=True):
    """A change, and where."""

    series: Series
    change: Change

    @property
    def sentence(self) -> str:
        """In words."""
        of = self.series
        return f"{of.model} on {of.engine} ({of.channel}, {of.device}), {of.shape}: {self.change.sentence}"


def changed(measured: Iterable[Measured]) -> list[Changed]:
    """Every change of every series, newest first; what was measured is in order."""
    found = [
        Changed(series=series, change=change)
        for series, nights in histories(measured).items()
        for change in changes(nights)
    ]
    return sorted(found, key=lambda one: one.change.day, reverse=True)


def histories(measured: Iterable[Measured]) -> dict[Series, list[Night]]:
    """The nights of every series, as ordered; of several measurements of a day (UTC) the last counts."""
    found: dict[Series, dict[dt.date, Measured]] = {}
    for one in measured:
        found.setdefault(one.series, {})[one.started_at.date()] = one
    return {series: _nights(by_day) for series, by_day in found.items()}


def series_of(cell: Cell, machine: str) -> list[Series]:
    """Those that a cell belongs to on a machine, in the order of the load shapes."""
    return [
        Series(
            engine=cell.release.engine,
            channel=cell.release.channel,
            build=cell.build,
            model=cell.model.id,
            device=cell.device.id,
            config=cell.config.id,
            machine=machine,
            shape=shape.id,
        )
        for shape in cell.device.workload.shapes
    ]


def columns(shape: Shape) -> tuple[str, str]:
    """The numbers of a verdict that hold a shape's speed and its canary."""
    return f"{shape.id}{PACE}", CANARY[shape.bound]


def _nights(by_day: Mapping[dt.date, Measured]) -> list[Night]:
    scales = _scales([one.canary for one in by_day.values()])
    return [
        Night(day=day, speed=one.speed * scale, setting=one.setting)
        for (day, one), scale in zip(by_day.items(), scales, strict=True)
    ]


def _scales(canaries: Sequence[float | None]) -> list[float]:
    """What to multiply each night with, so that the device's own speed was the same; 1 where a night does not know."""
    known = [canary for canary in canaries if canary]
    if len(known) < len(canaries):
        return [1.0] * len(canaries)
    usual = float(np.median(known))
    return [usual / canary for canary in known]
