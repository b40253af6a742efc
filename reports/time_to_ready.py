"""The page of the time machine: from the day an architecture came until each engine ran it rightly. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from matrix.cells import Record
from matrix.chronicle import Appearance, Chronicle, Moment
from reports import microscope, ready
from reports.chronicles import Chronicles
from reports.grid import Grid, Square
from reports.markdown import row
from reports.ready import Span, State, Tried

MARKS = {"right": "+", "absent": "0", "wrong": "x", "suspect": "?", "skipped": ".", "grey": "?", "": " "}
"""What a release made of a checkpoint, in one letter."""

CAME_IN = "transformers"
"""The distribution by whose releases classes are dated: one before that lacks the class, tried or not."""

PICTURE = "time-to-ready.svg"
"""Beside the page; `make time-to-ready` draws it."""


class Wait(Record, frozen=True, kw_only=True):
    """One architecture on one engine: what each release made of it, and the bounds of the first that was right."""

    model: str
    architecture: str
    came: Appearance
    engine: str
    kinds: tuple[str, ...]
    """By release, oldest first: one of `microscope.KINDS`, or empty where nothing was measured."""
    span: Span

    @property
    def days(self) -> str:
        """From its first appearance."""
        return ready.interval(*ready.bounds(self.span, self.came.released))


def waits(grid: Grid, known: Chronicles) -> list[Wait]:
    """Every tiny checkpoint whose class has a day, on every engine with a chronicle.

    A release of which none is right tells nothing of the engine: this project's file does not fit it.
    """
    squares = {(square.place.model, square.release): square for square in microscope.squares_of(grid)}
    telling = {release for (_, release), square in squares.items() if microscope.kind(square) == "right"}
    squares = {place: square for place, square in squares.items() if place[1] in telling}
    architectures = {model: square.results[0].cell.model.architecture for (model, _), square in squares.items()}
    came = {model: known.appearances[name] for model, name in architectures.items() if name in known.appearances}
    return [
        _wait(chronicle, model, one, squares)
        for model, one in sorted(came.items(), key=lambda item: (item[1].released, item[0]))
        for chronicle in known.engines
        if any((model, moment.release) in squares for moment in chronicle.moments)
    ]


def _wait(chronicle: Chronicle, model: str, came: Appearance, squares: Mapping[tuple[str, str], Square]) -> Wait:
    found = [squares.get((model, moment.release)) for moment in chronicle.moments]
    before = [chronicle.distribution == CAME_IN and moment.released < came.released for moment in chronicle.moments]
    tried = [
        Tried(release=moment.release, released=moment.released, state="short" if lacked else _state(square))
        for moment, square, lacked in zip(chronicle.moments, found, before, strict=True)
    ]
    return Wait(
        model=model,
        architecture=came.architecture,
        came=came,
        engine=chronicle.engine,
        kinds=tuple("" if square is None else microscope.kind(square) for square in found),
        span=ready.span(tried, chronicle.until),
    )


def _state(square: Square | None) -> State:
    """A rebuild that errs may err by itself: of the engine it tells only what is right, and which classes it lacks."""
    kind = "" if square is None else microscope.kind(square)
    if kind == "right":
        return "right"
    official = square is not None and square.build == "official"
    return "short" if kind == "absent" or (kind == "wrong" and official) else "unknown"


def render(found: Sequence[Wait], known: Chronicles, *, made_at: dt.datetime) -> str:
    """One document: the days, what they stand on release by release, and what could not be tried."""
    engines = [chronicle for chronicle in known.engines if any(one.engine == chronicle.engine for one in found)]
    by_place = {(one.model, one.engine): one for one in found}
    models = list(dict.fromkeys(one.model for one in found))
    lines = [
        "# Time to ready",
        "",
        f"Made by `readiness grid --time-to-ready` on {made_at:%Y-%m-%d} from runs of `readiness history`. Not written "
        "by hand.",
        "",
        "Days from the release of transformers in which the class of a model first came until the first release of "
        "each engine that computes it rightly, by a tiny checkpoint in float32 on a CPU. A negative number: the engine "
        "had it earlier. *At most*: it was right in the oldest release that could tell. *At least*: no release that "
        "was tried is right. Two numbers: between them lie releases that were not tried, or of which the build at hand "
        "cannot tell. It says nothing of released weights, of other devices, or of speed.",
        "",
        f"![Bounds of the days for each checkpoint and engine]({PICTURE})",
        "",
        row(["class", "checkpoint", "in transformers since", *(chronicle.engine for chronicle in engines)]),
        row(["---"] * (3 + len(engines))),
        *(_line(model, [by_place.get((model, chronicle.engine)) for chronicle in engines]) for model in models),
        "",
        *(
            line
            for chronicle in engines
            for line in _engine(chronicle, [one for one in found if one.engine == chronicle.engine])
        ),
    ]
    return "\n".join(lines)


def _line(model: str, found: Sequence[Wait | None]) -> str:
    some = next(one for one in found if one is not None)
    since = f"{some.came.version}, {some.came.released}"
    return row([f"`{some.architecture}`", model, since, *("" if one is None else _said(one) for one in found)])


def _said(one: Wait) -> str:
    lost = f", not in {one.span.lost_in}" if one.span.lost_in else ""
    return f"{one.days}{lost}"


def _engine(chronicle: Chronicle, found: Sequence[Wait]) -> list[str]:
    tried = [index for index, moment in enumerate(chronicle.moments) if any(one.kinds[index] for one in found)]
    named = [chronicle.moments[index] for index in tried]
    heads = [f"{one.release.removeprefix(f'{chronicle.engine}-')}<br>{one.released:%m-%d}" for one in named]
    by = f", by the days of `{chronicle.dated_by}`" if chronicle.dated_by != chronicle.distribution else ""
    return [
        f"## {chronicle.engine}",
        "",
        f"`{chronicle.distribution}`, {len(tried)} of {len(chronicle.moments)} releases from {chronicle.since} to "
        f"{chronicle.until}{by}. `+` right, `x` wrong or broken, `0` its class is unknown, `.` excluded with a reason, "
        "`?` not decided.",
        "",
        row(["checkpoint", *heads]),
        row(["---"] * (1 + len(heads))),
        *(row([one.model, *(MARKS[one.kinds[index]] for index in tried)]) for one in found),
        "",
        *_silent([one for one in chronicle.moments if not one.untried and one not in named]),
        *_untried(chronicle.moments),
    ]


def _silent(moments: Sequence[Moment]) -> list[str]:
    names = ", ".join(one.release for one in moments)
    return [f"- Asked, and right of nothing, so that they tell nothing of the engine: {names}", ""] if names else []


def _untried(moments: Sequence[Moment]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for moment in moments:
        if moment.untried:
            by_reason.setdefault(moment.untried, []).append(moment.release)
    lines = [f"- Not tried: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    return [*lines, ""] if lines else []
