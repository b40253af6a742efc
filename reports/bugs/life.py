"""The life of one failure: where it stands, whether it is confirmed, and how long it has been gone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matrix.cells import Record
from reports.bugs.histories import Key, Look, Place

SEEN_TWICE = 2
"""Runs in a row, each with a server of its own, in which a failure must show: one alone may be a bad night."""


class Life(Record, frozen=True, kw_only=True):
    """The looks that matter to one failure; `of` makes one."""

    shown: tuple[Look, ...]
    """All that ever showed it, oldest first."""
    own: frozenset[Key]
    """Their keys."""
    places: tuple[tuple[Look, ...], ...]
    """What holds for the places that they are of, oldest first."""

    @property
    def standing(self) -> list[Look]:
        """The newest look of each place that shows it now."""
        return [history[-1] for history in self.places if self.shows(history[-1])]

    @property
    def latest(self) -> list[Look]:
        """Those, or the last that showed it."""
        return self.standing or [self.shown[-1]]

    @property
    def confirmed(self) -> bool:
        """Whether two runs in a row of one cell show it: the newest where it stands, any two where it is gone."""
        standing = [history for history in self.places if self.shows(history[-1])]
        if standing:
            return any(
                self._twice([look for look in history if look.cell_id == history[-1].cell_id]) for history in standing
            )
        return any(self._twice(pair) for history in self.places for pair in pairwise(history))

    @property
    def clean(self) -> list[Look]:
        """Passes since it last showed anywhere, oldest first; none while a place has not passed since it showed there.

        A night on which it showed and was passed in a second run is no clean one.
        """
        last = max((look for history in self.places for look in history if self.shows(look)), key=moment, default=None)
        if last is None or not all(self._passed_since(history) for history in self.places):
            return []
        passes = [look for history in self.places for look in history if look.passed]
        return sorted((look for look in passes if moment(look) > moment(last) and look.night != last.night), key=moment)

    def shows(self, look: Look) -> bool:
        """Whether a look is one of those that show it."""
        return look.key in self.own

    def _twice(self, looks: Sequence[Look]) -> bool:
        last = looks[-SEEN_TWICE:]
        one_cell = len({look.cell_id for look in last}) == 1
        return len(last) == SEEN_TWICE and one_cell and all(map(self.shows, last))

    def _passed_since(self, history: Sequence[Look]) -> bool:
        """Whether a place has passed since it last showed the failure: another failure may have hidden it."""
        newest = next((look for look in reversed(history) if look.passed or self.shows(look)), None)
        return newest is None or newest.passed


def of(shown: Sequence[Look], places: Mapping[Place, Sequence[Look]]) -> Life:
    """The life of what some looks show, among the histories of all places."""
    return Life(
        shown=tuple(shown),
        own=frozenset(look.key for look in shown),
        places=tuple(tuple(places[place]) for place in dict.fromkeys(look.place for look in shown)),
    )


def moment(look: Look) -> tuple[object, ...]:
    """By which looks are ordered."""
    return look.started_at, look.cell_id, look.run_id
