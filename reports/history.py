"""Speed over nights: where it changed for good, by how much, and what else changed that night. Pure.

Cells with history are searched for change points by Apache Otava (E-divisive with a t-test; Fleming et al., "Hunter",
arXiv 2301.03034). Young cells have too few nights for that and get the rule that PyTorch's nightly benchmarks use: the
latest nights against the median of those before them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from matrix.cells import Record

GROWN = 20
"""Nights from which on change points are searched for: ten on each side."""

WINDOW = 50
"""Nights that Otava looks at together."""
MAX_P_VALUE = 0.001
"""Otava's own default, and that of its users: one false point in a thousand comparisons."""

MIN_MAGNITUDE = 0.05
"""Relative change that is worth a word; engines differ by less from one start to the next."""

BASELINE = 4
"""Nights of a young cell whose median the next ones are compared with."""
LATEST = 4
"""Nights that are compared."""
CONFIRMED = 2
"""Of these the last ones must all be slow: one slow night is an outlier."""
SUSPICIOUS = 3
"""So many slow nights in a row that were followed by a good one."""

Kind = Literal["regression", "improvement", "suspicious"]


class Night(Record, frozen=True, kw_only=True):
    """One night's speed of one cell at one load shape."""

    day: dt.date
    speed: float
    """Larger is better; divided by the night's canary where there is one."""
    setting: Mapping[str, str]
    """What could change it, by name: engine, image, model, driver, harness."""


class Change(Record, frozen=True, kw_only=True):
    """A step in the speed."""

    kind: Kind
    day: dt.date
    """The first night of the new speed."""
    before: float
    """Median speed of the nights before, back to the step before this one."""
    after: float
    """Median speed of the nights from then on."""
    changed: tuple[str, ...]
    """What was different from the night before: `engine: 0.31.0 to 0.32.0`."""

    @property
    def sentence(self) -> str:
        """In words."""
        by = f"{self.after / self.before - 1.0:+.0%}".replace("-", "\N{MINUS SIGN}")
        what = "; ".join(self.changed) or "nothing else that is recorded changed"
        return f"{self.kind} since {self.day}: {by} ({what})"


def changes(nights: Sequence[Night]) -> list[Change]:
    """The steps in a series, oldest first; raises ValueError where its days are not in order or a speed is none."""
    if any(later.day <= earlier.day for earlier, later in pairwise(nights)):
        raise ValueError("the nights of a history must be in order, each of another day")
    if not all(math.isfinite(night.speed) and night.speed > 0 for night in nights):
        raise ValueError("a speed must be a number above zero")
    return _steps(nights) if len(nights) >= GROWN else _young(nights)


def _steps(nights: Sequence[Night]) -> list[Change]:
    speeds = [night.speed for night in nights]
    if not _any_apart(speeds):
        return []
    # It brings SciPy's statistics, whose import takes a second; most histories need neither.
    from otava.analysis import compute_change_points

    points, _ = compute_change_points(speeds, WINDOW, MAX_P_VALUE, MIN_MAGNITUDE)
    starts = _lasting([point.index for point in points], speeds)
    edges = [0, *starts, len(nights)]
    return [
        _change(nights, start, speeds[before:start], speeds[start:after])
        for before, start, after in zip(edges, starts, edges[2:], strict=False)
    ]


def _lasting(starts: Sequence[int], speeds: Sequence[float]) -> list[int]:
    """Without the edges of outliers: the t-test compares means, and takes a night that stands alone for two steps."""
    starts = list(starts)
    while True:
        edges = [0, *starts, len(speeds)]
        for index, (before, start, after) in enumerate(zip(edges, starts, edges[2:], strict=False)):
            if not _apart(speeds[before:start], speeds[start:after]):
                del starts[index]
                break
        else:
            return starts


def _any_apart(speeds: Sequence[float]) -> bool:
    """Whether any two stretches could differ as `_apart` asks: at least two nights of each lie beyond its edge.

    Most histories are steady, and need no search, which takes milliseconds each.
    """
    ordered = sorted(speeds)
    return ordered[CONFIRMED - 1] < (1.0 - MIN_MAGNITUDE) * ordered[-CONFIRMED]


def _apart(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether two stretches differ: their medians, and of a short one every night."""
    if min(len(before), len(after)) < CONFIRMED:
        return False
    slower = np.median(after) < np.median(before)
    low, high = (after, before) if slower else (before, after)
    least = float(np.median(high) if len(high) >= LATEST else min(high))
    most = float(np.median(low) if len(low) >= LATEST else max(low))
    return most < (1.0 - MIN_MAGNITUDE) * least


def _young(nights: Sequence[Night]) -> list[Change]:
    """At most one: the latest nights are slower than the median of those before them, or were for a while."""
    if len(nights) < BASELINE + LATEST:
        return []
    first = len(nights) - LATEST
    before = [night.speed for night in nights[first - BASELINE : first]]
    slow = [night.speed < (1.0 - MIN_MAGNITUDE) * float(np.median(before)) for night in nights[first:]]
    trailing = next((i for i, one in enumerate(reversed(slow)) if not one), LATEST)
    if trailing >= CONFIRMED:
        start = len(nights) - trailing
        return [_change(nights, start, before, [night.speed for night in nights[start:]])]
    for start in range(LATEST - SUSPICIOUS + 1):
        if all(slow[start : start + SUSPICIOUS]):
            after = [night.speed for night in nights[first + start : first + start + SUSPICIOUS]]
            return [_change(nights, first + start, before, after, kind="suspicious")]
    return []


def _change(
    nights: Sequence[Night], start: int, before: Sequence[float], after: Sequence[float], kind: Kind | None = None
) -> Change:
    old, new = float(np.median(before)), float(np.median(after))
    return Change(
        kind=kind or ("regression" if new < old else "improvement"),
        day=nights[start].day,
        before=old,
        after=new,
        changed=_changed(nights[start - 1].setting, nights[start].setting),
    )


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    names = dict.fromkeys((*before, *after))
    return tuple(
        f"{name}: {before.get(name, 'not recorded')} to {after.get(name, 'not recorded')}"
        for name in names
        if before.get(name) != after.get(name)
    )
