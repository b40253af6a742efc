"""An issue of our own tracker: what is read of it, what is to be done to it, and what it says to us alone. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

from matrix.cells import Record
from reports.bugs import neutral

LABEL = "engine-failure"
"""Of every issue of ours. Who may set labels may write to the repository, so that nobody else makes an issue ours."""
WONTFIX = "wontfix"

LIMIT = 65_000
"""Characters of a body; GitHub takes 65,536."""
KEPT = 2_000
"""Characters of the end of a log that are left even where that does not suffice."""

MARKER = re.compile(r"^<!-- readiness-failure (\{.*\}) -->\r?$", re.M)
NOTE = re.compile(r"^<!-- readiness-note ([\w.-]+) -->\r?$", re.M)
SIGNATURE = re.compile(r"[a-z0-9.-]+-[0-9a-f]{12}")


class Marker(Record, frozen=True, kw_only=True):
    """What the body of an issue says to us alone, in a comment that GitHub does not show."""

    id: str
    """Of the failure when the issue was filed, or the word of an issue of another kind."""
    aliases: tuple[str, ...] = ()
    """Ids of all signatures that were ever told here."""
    engine: str = ""
    night: str
    """In which it was filed."""
    models: tuple[str, ...] = ()
    """That were told."""
    devices: tuple[str, ...] = ()
    returns: int = 0
    """How often it came back after it was closed."""
    closed: str = ""
    """The night in which we closed it; empty while it is open, and where a person closed it."""
    passed: bool = False
    """Since a person closed it, the failure was gone for some nights."""
    text: str = ""
    """Digest of the text as we wrote it."""


class Issue(Record, frozen=True, kw_only=True):
    """An issue as GitHub has it."""

    number: int
    body: str
    open: bool
    reason: str = ""
    """Why it is closed: `completed`, `not_planned` or `duplicate`."""
    labels: tuple[str, ...]
    author: str

    @property
    def marker(self) -> Marker | None:
        """None where there is none that this program can read."""
        found = MARKER.search(self.body)
        try:
            return msgspec.json.decode(found[1], type=Marker) if found else None
        except msgspec.MsgspecError:
            return None

    @property
    def ids(self) -> frozenset[str]:
        """What it is about, also by a marker that cannot be read."""
        if (marker := self.marker) is not None:
            return frozenset((marker.id, *marker.aliases))
        found = MARKER.search(self.body)
        return frozenset(SIGNATURE.findall(found[1]) if found else ())

    @property
    def text(self) -> str:
        """What a reader sees of the body."""
        return MARKER.sub("", self.body, count=1).replace("\r\n", "\n").strip()

    @property
    def edited(self) -> bool:
        """Whether a person has changed the text."""
        return self.marker is not None and self.marker.text != digest(self.text)

    @property
    def left_alone(self) -> bool:
        """Whether a person has decided about it: it is no bug of ours to follow, or another's duplicate."""
        labels = {label.lower() for label in self.labels}
        decided = not self.open and self.reason in ("not_planned", "duplicate")
        return decided or WONTFIX in labels or LABEL not in labels or self.marker is None


class Note(Record, frozen=True, kw_only=True):
    """A comment that is made once."""

    key: str
    """By which it is known again on its issue."""
    text: str

    @property
    def body(self) -> str:
        """With the hidden key."""
        return f"<!-- readiness-note {self.key} -->\n{self.text}"


class Change(Record, frozen=True, kw_only=True):
    """What is to be done to an issue; the note comes first, so that what follows it is known to be told."""

    what: Literal["updated", "reopened", "closed", "closed as a duplicate", "marked as passed"]
    about: str
    """Id of the failure."""
    number: int
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    reason: Literal["completed", "duplicate", "reopened"] | None = None
    note: Note | None = None


class New(Record, frozen=True, kw_only=True):
    """An issue that is to be opened."""

    about: str
    title: str
    body: str
    labels: tuple[str, ...]


def note_key(body: str) -> str | None:
    """The hidden key of a comment of ours."""
    found = NOTE.search(body)
    return found[1] if found else None


def written(marker: Marker, markdown: str) -> str:
    """A body: the marker, and below it what everybody reads, guarded and no longer than GitHub takes."""
    room = LIMIT - len(_line(marker)) - 2 * 16
    text = fitted(neutral.guarded(markdown), room).strip()
    return f"{_line(msgspec.structs.replace(marker, text=digest(text)))}\n{text}"


def rewritten(issue: Issue, marker: Marker, markdown: str) -> str | None:
    """The new body; None where nothing changes. Of a text that a person has changed, the marker alone is new."""
    if issue.edited:
        return marked(issue, marker)
    new = written(marker, markdown)
    made = msgspec.structs.replace(issue, body=new)
    return new if (made.marker, made.text) != (issue.marker, issue.text) else None


def marked(issue: Issue, marker: Marker) -> str | None:
    """The body with another marker; None where it is the same one."""
    if issue.marker is None or marker == issue.marker:
        return None
    line = _line(msgspec.structs.replace(marker, text=issue.marker.text))
    return MARKER.sub(lambda _: line, issue.body, count=1)


def fitted(markdown: str, limit: int) -> str:
    """A text with the longest quotations, which are logs, cut at their beginning until it is short enough."""
    parts = neutral.blocks(markdown)
    while (over := len(_joined(parts)) - limit) > 0:
        quoted = [place for place, part in enumerate(parts) if part.language == "text"]
        longest = max(quoted, key=lambda place: len(parts[place].text), default=None)
        if longest is None or len(parts[longest].text) <= 2 * KEPT:
            cut = neutral.blocks(_joined(parts)[: limit - KEPT])
            return f"{_joined(cut)}\n\n*The rest is left out: GitHub takes no more characters.*"
        parts[longest] = _shorter(parts[longest], over)
    return _joined(parts)


def _shorter(part: neutral.Block, over: int) -> neutral.Block:
    said = "\n".join(part.lines)
    kept = said[-max(KEPT, len(said) - over - 200) :]
    note = f"[{len(said) - len(kept)} characters left out here: GitHub takes no more]"
    return msgspec.structs.replace(part, lines=(note, *kept.split("\n")))


def digest(text: str) -> str:
    """Sixteen hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _joined(parts: list[neutral.Block]) -> str:
    return "\n".join(part.text for part in parts)


def _line(marker: Marker) -> str:
    # Nothing in it can end the comment: these characters are only within strings, where JSON may escape them.
    said = msgspec.json.encode(marker).decode()
    for sign, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("--", "-\\u002d")):
        said = said.replace(sign, escaped)
    return f"<!-- readiness-failure {said} -->"
