"""Failures: what like results show together, which of them are confirmed, which stand, and which are mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matrix.cells import Record
from matrix.results import Result
from reports.bugs import histories, life, neighbours
from reports.bugs.histories import Key, Look
from reports.bugs.life import Life
from reports.bugs.neighbours import Neighbour
from reports.store import Store


class Touched(Record, frozen=True, kw_only=True):
    """Where a failure has shown, each in the order in which it did first."""

    models: tuple[str, ...]
    architectures: tuple[str, ...]
    releases: tuple[str, ...]
    devices: tuple[str, ...]
    configs: tuple[str, ...]


class Failure(Record, frozen=True, kw_only=True):
    """One failure: a cluster of results that show the same fault, in all cells that show it or have shown it."""

    id: str
    """Of the signature of the earliest member: `<engine>-<probe>-<12 hexadecimal digits>`."""
    aliases: tuple[str, ...]
    """Ids of the signatures of all members, the own among them."""
    engine: str
    probe: str
    kind: str
    """As `Signature` has it."""
    words: str
    """The normalised error, or the pattern of divergence, in the earliest member's words."""
    confirmed: bool
    """The two newest settled runs of one cell both show it; of one that is gone, two in a row once did."""
    standing: bool
    """Some place shows it now."""
    latest: tuple[Result, ...]
    """The newest result of each cell that shows it now; of one that is gone, the last that showed it."""
    first_seen: Result
    """The earliest result that shows it."""
    clean_nights: int
    """Nights since it last showed on which one of its places passed; 0 until each of them has."""
    mended_by: str | None
    """The release of the first of those nights."""
    touched: Touched
    neighbours: tuple[str, ...]
    """What passes beside it, in fixed sentences; nothing is said of one that is gone."""


def failures(store: Store) -> list[Failure]:
    """Every unexpected failure of an engine that stands, and every one that was confirmed and is gone; by id.

    It is confirmed where the two newest settled results of one cell both show it: one alone may be a bad night. Doubt
    about the reference ends it, and so does a rule that expects it: nobody is told of a fault that may be ours, nor
    twice of what is known. Neither has mended it, nor has another failure in its place, which may hide it.
    """
    every = histories.looks(store)
    places = histories.by_place(every)
    found = histories.by_failure(every)
    lives = {name: life.of(found[name], places) for name in sorted(found)}
    told = {name: one for name, one in lives.items() if one.standing or one.confirmed}
    results = _results(store, [look for one in told.values() for look in (one.shown[0], *one.latest)])
    passing = neighbours.passing(store, {one.shown[0].place.probe for one in told.values()}) if told else {}
    return [_failure(one, results, passing.get(one.shown[0].place.probe, [])) for one in told.values()]


def _failure(one: Life, results: Mapping[Key, Result], passing: Sequence[Neighbour]) -> Failure:
    signatures = {look.signature.id: look.signature for look in one.shown if look.signature is not None}
    known = next(iter(signatures.values()))
    clean = [] if one.standing else one.clean
    touched = _touched(one.shown)
    return Failure(
        id=known.id,
        aliases=tuple(signatures),
        engine=known.engine,
        probe=known.probe,
        kind=known.kind,
        words=known.words,
        confirmed=one.confirmed,
        standing=bool(one.standing),
        latest=tuple(results[look.key] for look in one.latest),
        first_seen=results[one.shown[0].key],
        clean_nights=len({look.night for look in clean}),
        mended_by=clean[0].release if clean else None,
        touched=touched,
        neighbours=neighbours.sentences(one.standing, touched.architectures, passing),
    )


def _touched(shown: Sequence[Look]) -> Touched:
    return Touched(
        models=_distinct(look.place.model for look in shown),
        architectures=_distinct(look.architecture for look in shown),
        releases=_distinct(look.release for look in shown),
        devices=_distinct(look.place.device for look in shown),
        configs=_distinct(look.place.config for look in shown),
    )


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _results(store: Store, wanted: Sequence[Look]) -> dict[Key, Result]:
    """The whole results of some looks."""
    if not wanted:
        return {}
    columns = [list(column) for column in zip(*{look.key for look in wanted}, strict=True)]
    found = store.results("(run_id, cell_id, probe) IN (SELECT (unnest(?), unnest(?), unnest(?)))", columns)
    return {(one.provenance.run_id, one.cell_id, one.probe): one for one in found}
