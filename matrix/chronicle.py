"""The releases of an engine since a day, and which of them could be tried. Read and written as JSON; pure.

It lies beside the runs of a results folder, whose results say what each release did: without it nobody would know which
releases lie between two that were measured.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from matrix.cells import Id, Record

FOLDER = "chronicles"
"""Beside the runs of a results folder."""


class Moment(Record, frozen=True, kw_only=True):
    """One release, whether it was tried or not."""

    release: Id
    """`engine-version`."""
    released: dt.date
    """UTC; the engine's own day where the build that is run is a rebuild of it."""
    untried: str = ""
    """Why nothing was measured with it; empty where it was tried."""


class Chronicle(Record, frozen=True, kw_only=True):
    """Every release of an engine since a day, oldest first."""

    engine: Id
    distribution: str
    """What was installed, as the package index calls it."""
    dated_by: str
    """The distribution by whose days releases are dated."""
    since: dt.date
    until: dt.date
    """The day on which the index was asked."""
    moments: tuple[Moment, ...]

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return f"{self.engine}.json"


class Appearance(Record, frozen=True, kw_only=True):
    """The release of transformers in which a class of a model first came."""

    architecture: str
    version: str
    released: dt.date
    """UTC."""


APPEARANCES = "appearances.json"
"""File of all that are known, in the folder."""


def continued(known: Chronicle | None, new: Chronicle) -> Chronicle:
    """What is known now: the longer time of the two, and of each release what was last found out.

    A release that was tried stays tried, whatever a later run that does not choose it says.
    """
    if known is None:
        return new
    moments = {one.release: one for one in known.moments}
    for one in new.moments:
        before = moments.get(one.release)
        moments[one.release] = before if before is not None and not before.untried else one
    ordered = sorted(moments.values(), key=lambda one: (one.released, one.release))
    since, until = min(known.since, new.since), max(known.until, new.until)
    return msgspec.structs.replace(new, since=since, until=until, moments=tuple(ordered))
