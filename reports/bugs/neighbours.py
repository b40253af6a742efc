"""What passes beside a failure, in fixed sentences made of results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from matrix.cells import Record
from matrix.results import Status
from reports.bugs.histories import ANSWERED, Look
from reports.store import Store

# Of every place of some probes the newest release of which something is settled, and what holds for it. The record of
# a cell is read once.
_NEWEST = f"""
WITH held AS (
    SELECT cell_id, probe, max(started_at) AS last, arg_max(status, (started_at, run_id)) AS status,
        any_value(COLUMNS(['engine', 'channel', 'version', 'model', 'device', 'config', 'cell']))
    FROM results WHERE list_contains(?, probe) AND status IN ({ANSWERED}) GROUP BY cell_id, probe
)
SELECT engine, version, model, device, config, probe, status, cell ->> '$.model.architecture' AS architecture
FROM held QUALIFY 1 = row_number() OVER (
    PARTITION BY engine, channel, model, device, config, probe
    ORDER BY TRY_CAST(cell ->> '$.release.released' AS DATE) DESC NULLS LAST, last DESC
) ORDER BY engine, version, model, device, config
"""


class Neighbour(Record, frozen=True, kw_only=True):
    """A probe that one cell passes, of the newest release there."""

    engine: str
    release: str
    model: str
    architecture: str
    device: str
    config: str
    probe: str


def passing(store: Store, probes: Iterable[str]) -> dict[str, list[Neighbour]]:
    """The cells that pass some probes, by probe."""
    found: dict[str, list[Neighbour]] = {}
    for row in store.query(_NEWEST, [sorted(set(probes))]):
        release = f"{row['engine']}-{row.pop('version')}"
        if row.pop("status") == Status.PASS.value:
            one = Neighbour(**row, release=release)
            found.setdefault(one.probe, []).append(one)
    return found


def sentences(failing: Sequence[Look], architectures: Iterable[str], passing: Sequence[Neighbour]) -> tuple[str, ...]:
    """What passes beside some cells that fail, as far as it does so beside all of them.

    `architectures`: those that the failure has ever touched. `passing`: all that pass its probe.
    """
    releases = _common(failing, passing, lambda at, one: one.engine != at.place.engine, "release")
    own = [one for one in passing if one.release in {at.release for at in failing}]
    configs = _common(failing, own, lambda at, one: one.release == at.release, "config")
    devices = _common(failing, own, lambda at, one: one.release == at.release, "device")
    where = {(at.place.device, at.place.config) for at in failing}
    others = {one.architecture for one in own if (one.device, one.config) in where} - set(architectures)
    found = {
        f"passes on {_listed(releases)}": releases,
        f"with config {_listed(configs)} it passes": configs,
        f"on device {_listed(devices)} it passes": devices,
        f"the engine passes this probe on {len(others)} other architectures here": len(others) > 1,
        "the engine passes this probe on 1 other architecture here": len(others) == 1,
    }
    return tuple(sentence for sentence, so in found.items() if so)


def _common(
    failing: Sequence[Look], passing: Sequence[Neighbour], like: Callable[[Look, Neighbour], bool], field: str
) -> list[str]:
    """The values of a field with which each of the failing cells passes, all else being the same."""
    fixed = [name for name in ("model", "device", "config") if name != field]
    common: set[str] | None = None
    for at in failing:
        beside = {
            str(getattr(one, field))
            for one in passing
            if like(at, one) and all(getattr(one, name) == getattr(at.place, name) for name in fixed)
        }
        common = beside if common is None else common & beside
    return sorted(common or ())


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
