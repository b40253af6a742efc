"""What is to be done in the tracker, from what is reported and the issues that are there. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from matrix.cells import Record
from reports.bugs import issue as writing
from reports.bugs import neutral
from reports.bugs.failures import Failure
from reports.bugs.issue import LABEL, Change, Issue, Marker, New, Note

CLEAN_NIGHTS = 14
"""In a row, and a failure is mended: one that shows on every third night is absent for so long once in 300 times."""
PASSED_NIGHTS = 3
"""In a row, and what a person has closed as done was done: a failure that shows after them has returned."""
NEW_A_NIGHT = 3
"""Issues of one engine; more of them at once are more than anybody reads."""

WAITING = "waiting"
"""What the issue is about that lists what waits."""

RANK = {"": 0, "completed": 1, "not_planned": 2, "duplicate": 3}
"""Of several issues about one failure, which is the one: by why it is closed."""


class Report(Record, frozen=True, kw_only=True):
    """What is told of one failure."""

    failure: Failure
    title: str
    body: str
    """Markdown: everything a maintainer needs."""
    held_back: str = ""
    """Why it may not be filed; empty: it may."""

    @property
    def refusal(self) -> str:
        """Why no issue of it is opened; empty where one may be."""
        verdicts = [result.verdict for result in self.failure.latest]
        if not self.failure.standing:
            return "gone"
        if not verdicts or not all(verdict.status.blames_engine for verdict in verdicts):
            return "a result of it blames no engine"
        if not all(verdict.unexpected for verdict in verdicts):
            return "a rule expects it"
        if not self.failure.confirmed:
            return "seen once, waits for a second run"
        return self.held_back

    @property
    def ids(self) -> frozenset[str]:
        """By which its issue is found."""
        return frozenset((self.failure.id, *self.failure.aliases))


class Matter(Record, frozen=True, kw_only=True):
    """What belongs together: failures and issues that share a signature, however clusters have changed since."""

    reports: tuple[Report, ...]
    issues: tuple[Issue, ...]
    """The one that counts first; the others are its duplicates."""

    @property
    def ids(self) -> frozenset[str]:
        """Of all of it."""
        return frozenset().union(*(one.ids for one in self.reports), *(one.ids for one in self.issues))

    @property
    def told(self) -> Report | None:
        """The report that its issue shows: of those that may be filed the one that it was opened for, or the oldest."""
        marker = self.issues[0].marker if self.issues else None
        own = marker.id if marker is not None else ""
        fit = [report for report in self.reports if not report.refusal]
        return min(fit, key=lambda report: (report.failure.id != own, *_age(report)), default=None)

    def gone(self, nights: int) -> bool:
        """Whether all of it has been gone for so many nights."""
        failures = [report.failure for report in self.reports]
        return bool(failures) and all(not one.standing and one.clean_nights >= nights for one in failures)


class Plan(Record, frozen=True, kw_only=True):
    """What is to be done tonight."""

    steps: tuple[Change | New, ...]
    waiting: tuple[Report, ...]
    """For another night."""


class Done(Record, frozen=True, kw_only=True):
    """What was done tonight."""

    steps: tuple[Change | New, ...]
    waiting: tuple[Report, ...]
    trouble: tuple[str, ...]
    """What GitHub refused, and what ended the run; the next night goes on."""


def plan(reports: Sequence[Report], known: Collection[Issue], *, night: str, me: str) -> Plan:
    """All that is to be done, and nothing once it is done; `me` is the login that writes."""
    changes: list[Change] = []
    unknown: list[Report] = []
    for matter in _matters(reports, [one for one in known if WAITING not in one.ids]):
        if matter.issues:
            changes += [*_duplicates(matter.issues, me), *_change(matter, night)]
        elif matter.told is not None:
            unknown.append(matter.told)
    now, later = _allowed(unknown, known, night)
    lists = sorted((one for one in known if WAITING in one.ids), key=_rank)
    return Plan(
        steps=(*changes, *(_new(report, night) for report in now), *_waiting(later, lists, night=night, me=me)),
        waiting=tuple(later),
    )


def _matters(reports: Sequence[Report], known: Sequence[Issue]) -> list[Matter]:
    groups: dict[str, frozenset[str]] = {}
    every: list[Report | Issue] = [*reports, *known]
    for one in every:
        joined = one.ids.union(*(groups[name] for name in one.ids if name in groups))
        groups |= dict.fromkeys(joined, joined)
    found: dict[frozenset[str], tuple[list[Report], list[Issue]]] = {}
    for report in reports:
        found.setdefault(groups[report.failure.id], ([], []))[0].append(report)
    for issue in known:
        found.setdefault(groups[min(issue.ids)], ([], []))[1].append(issue)
    return [
        Matter(reports=tuple(told), issues=tuple(sorted(opened, key=_rank)))
        for _, (told, opened) in sorted(found.items(), key=lambda item: min(item[0]))
    ]


def _rank(one: Issue) -> tuple[int, int]:
    return 0 if one.open else RANK.get(one.reason, 1), one.number


def _age(report: Report) -> tuple[object, ...]:
    return report.failure.first_seen.provenance.started_at, report.failure.id


def _duplicates(known: Sequence[Issue], me: str) -> Iterator[Change]:
    """Close all but the first, as far as they are ours and nobody has decided otherwise."""
    first, *others = known
    for other in others:
        if other.open and other.author == me and not other.left_alone:
            yield Change(
                what="closed as a duplicate",
                about=min(other.ids),
                number=other.number,
                state="closed",
                reason="duplicate",
                note=Note(key=f"duplicate-of-{first.number}", text=f"The same failure as #{first.number}."),
            )


def _change(matter: Matter, night: str) -> Iterator[Change]:
    """What is to be done to the issue of a matter: one thing at most."""
    one, told = matter.issues[0], matter.told
    marker = one.marker
    if one.left_alone or marker is None:
        return
    if told is not None and (one.open or marker.closed or marker.passed):
        yield from _shown(one, marker, told, matter.ids)
    elif one.open and not marker.closed and matter.gone(CLEAN_NIGHTS):
        yield _closed(one, marker, matter.reports, night)
    elif not one.open and not marker.closed and not marker.passed and matter.gone(PASSED_NIGHTS):
        body = writing.marked(one, msgspec.structs.replace(marker, passed=True))
        yield Change(what="marked as passed", about=marker.id, number=one.number, body=body)


def _shown(one: Issue, marker: Marker, told: Report, ids: Collection[str]) -> Iterator[Change]:
    """The issue of a failure that stands: with what is new, and opened again where it was closed."""
    failure, again = told.failure, not one.open
    news = [name for name in failure.touched.models if name not in marker.models]
    news += [name for name in failure.touched.devices if name not in marker.devices]
    new = msgspec.structs.replace(
        marker,
        aliases=_united(marker.aliases, sorted(ids)),
        models=_united(marker.models, failure.touched.models),
        devices=_united(marker.devices, failure.touched.devices),
        returns=marker.returns + bool(again or marker.closed),
        closed="",
        passed=False,
    )
    body = writing.rewritten(one, new, told.body)
    if again:
        note = Note(key=f"returned-{new.returns}", text=f"It is back: {_places(failure)}.")
        yield Change(
            what="reopened", about=marker.id, number=one.number, body=body, state="open", reason="reopened", note=note
        )
    elif body is not None:
        key = hashlib.sha256(" ".join(news).encode()).hexdigest()[:12]
        spread = Note(key=f"spread-{key}", text=f"It shows on more: {_codes(news)}.") if news else None
        yield Change(what="updated", about=marker.id, number=one.number, body=body, note=spread)


def _closed(one: Issue, marker: Marker, reports: Sequence[Report], night: str) -> Change:
    by = [report.failure.mended_by for report in reports if report.failure.mended_by is not None]
    mended = f"first with {_codes(sorted(set(by)))}" if by else "without a newer release"
    text = f"Not seen on {CLEAN_NIGHTS} nights in a row that could have shown it, {mended}. Opened again if it returns."
    return Change(
        what="closed",
        about=marker.id,
        number=one.number,
        body=writing.marked(one, msgspec.structs.replace(marker, closed=night)),
        state="closed",
        reason="completed",
        note=Note(key=f"mended-{marker.returns}", text=text),
    )


def _allowed(unknown: Sequence[Report], known: Iterable[Issue], night: str) -> tuple[list[Report], list[Report]]:
    """Those that are filed tonight, the oldest first, and those that wait."""
    tonight = [
        one.marker.engine for one in known if one.marker is not None and one.marker.night == night and _counts(one)
    ]
    now: list[Report] = []
    later: list[Report] = []
    for report in sorted(unknown, key=_age):
        filed = [*tonight, *(other.failure.engine for other in now)].count(report.failure.engine)
        (now if filed < NEW_A_NIGHT else later).append(report)
    return now, later


def _counts(one: Issue) -> bool:
    return one.open or one.reason != "duplicate"


def _new(report: Report, night: str) -> New:
    failure = report.failure
    marker = Marker(
        id=failure.id,
        aliases=tuple(sorted(report.ids)),
        engine=failure.engine,
        night=night,
        models=failure.touched.models,
        devices=failure.touched.devices,
    )
    return New(
        about=failure.id,
        title=neutral.title(report.title),
        body=writing.written(marker, report.body),
        labels=(LABEL, f"engine: {failure.engine}"),
    )


def _waiting(later: Sequence[Report], lists: Sequence[Issue], *, night: str, me: str) -> Iterator[Change | New]:
    """The one issue that lists what waits; closed while nothing does."""
    told = "\n".join(f"- {neutral.code(one.failure.id)}: {neutral.code(one.title)}" for one in later)
    text = f"At most {NEW_A_NIGHT} issues of an engine are opened a night. These wait for the next ones:\n\n{told}"
    if not lists:
        if later:
            first = writing.written(Marker(id=WAITING, night=night), text)
            yield New(about=WAITING, title="Failures that wait to be filed", body=first, labels=(LABEL,))
        return
    yield from _duplicates(lists, me)
    one = lists[0]
    marker = one.marker
    if one.left_alone or marker is None:
        return
    if later and (one.open or marker.closed):
        body = writing.rewritten(one, msgspec.structs.replace(marker, closed=""), text)
        if not one.open:
            yield Change(what="reopened", about=WAITING, number=one.number, body=body, state="open", reason="reopened")
        elif body is not None:
            yield Change(what="updated", about=WAITING, number=one.number, body=body)
    elif not later and one.open and not marker.closed:
        body = writing.rewritten(one, msgspec.structs.replace(marker, closed=night), "Nothing waits.")
        yield Change(what="closed", about=WAITING, number=one.number, body=body, state="closed", reason="completed")


def _places(failure: Failure) -> str:
    return _codes([result.cell_id for result in failure.latest])


def _codes(words: Iterable[str]) -> str:
    return ", ".join(map(neutral.code, words))


def _united(before: Sequence[str], added: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *added)))


def sentence(step: Change | New) -> str:
    """What a step does, in a line."""
    return f"opened: {step.about}" if isinstance(step, New) else f"{step.what}: #{step.number}, {step.about}"
