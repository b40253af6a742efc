"""The issues of one repository on GitHub: read, opened and changed, with patience where GitHub is busy or ill."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

from github import GithubException, RateLimitExceededException
from github.Issue import Issue as GithubIssue
from github.IssueComment import IssueComment

from matrix.errors import Infrastructure
from reports import github
from reports.bugs.issue import LABEL, Change, Issue, New, Note, note_key
from reports.github import Patience, Refused, There

ACTIONS = "github-actions[bot]"
"""Who writes with the token of a job, which may not ask for its own name."""

COLOURS = {LABEL: "b60205"}
COLOUR = "ededed"
"""Of labels that we make."""


class IssuesOff(Infrastructure):
    """The repository has no issues, as a fork has none at first."""


class Tracker:
    """The issues of a repository that are ours; `opened` makes one."""

    def __init__(self, there: There) -> None:
        self._repository = there.repository
        self._there = there

    @cached_property
    def me(self) -> str:
        """The login that writes here; empty without a token."""
        if self._there.client.requester.auth is None:
            return ""
        with _told(), _silent():
            try:
                return self._there.client.get_user().login
            except RateLimitExceededException:
                raise
            except GithubException as error:
                if error.status != 403:
                    raise
                return ACTIONS

    def issues(self) -> dict[int, Issue]:
        """All with our label, and all by us whose label a person has taken off; by number.

        Listed and not searched for: what was opened a moment ago is found too.
        """
        with _told():
            ways: list[dict[str, Any]] = [{"labels": [LABEL]}]
            if self.me:
                ways.append({"creator": self.me})
            # Those opened meanwhile come last, so that no page loses one.
            found = [
                one
                for way in ways
                for one in self._repository.get_issues(state="all", sort="created", direction="asc", **way)
            ]
            read = [_read(one) for one in found if "/pull/" not in one.html_url]
        return {one.number: one for one in sorted(read, key=lambda one: one.number) if one.ids}

    def issue(self, number: int) -> Issue:
        """One as it is now."""
        with _told():
            return _read(self._repository.get_issue(number).complete())

    def open(self, new: New) -> None:
        """Open an issue, once, however often the answer is lost."""
        with _told():
            self._make_labels(new.labels)
            made = self._there.once(
                lambda: _read(self._repository.create_issue(new.title, new.body, labels=list(new.labels))),
                lambda: next((one for one in self.issues().values() if new.about in one.ids), None),
            )
        if LABEL not in made.labels:
            raise Infrastructure(f"issue {made.number} did not get the label {LABEL}: this token may not set labels")

    def change(self, change: Change) -> Issue:
        """Comment on an issue and change it, in this order; both may be done again."""
        fields: dict[str, Any] = {"body": change.body, "state": change.state, "state_reason": change.reason}
        with _told():
            issue = self._repository.get_issue(change.number)
            if change.note is not None:
                self._comment(issue, change.note)
            issue.edit(**{name: value for name, value in fields.items() if value is not None})
            return _read(issue)

    def _comment(self, issue: GithubIssue, note: Note) -> None:
        """Make a comment, once; of those that two runs have made at once, the first one stays."""

        def made() -> list[IssueComment]:
            return [
                one
                for one in issue.get_comments()
                if note_key(one.body) == note.key and one.user is not None and one.user.login == self.me
            ]

        if not made():
            self._there.once(lambda: issue.create_comment(note.body), lambda: next(iter(made()), None))
        for later in sorted(made(), key=lambda one: one.id)[1:]:
            try:
                later.delete()
            except GithubException as error:
                if error.status != 404:  # the other run was faster
                    raise

    def _make_labels(self, names: Sequence[str]) -> None:
        def known(name: str) -> bool | None:
            return any(label.name.lower() == name.lower() for label in self._repository.get_labels()) or None

        for name in names:
            if not known(name):
                try:
                    self._there.once(partial(self._make_label, name), partial(known, name))
                except GithubException as error:
                    if error.status != 422:  # another run has made it meanwhile
                        raise

    def _make_label(self, name: str) -> bool:
        self._repository.create_label(name, COLOURS.get(name, COLOUR))
        return True


@contextmanager
def opened(repository: str, *, token: str, api: str, patience: Patience | None = None) -> Iterator[Tracker]:
    """The issues of `owner/name`; without a token they can only be read."""
    with github.repository(repository, token=token, api=api, patience=patience) as there:
        yield Tracker(there)


@contextmanager
def _silent() -> Iterator[None]:
    """Without the library's word on a refusal that is no trouble."""
    log = logging.getLogger("github")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _read(issue: GithubIssue) -> Issue:
    return Issue(
        number=issue.number,
        body=issue.body or "",
        open=issue.state == "open",
        reason=(issue.state_reason or "") if issue.state == "closed" else "",
        labels=tuple(sorted(label.name for label in issue.labels)),
        author=issue.user.login if issue.user is not None else "",
    )


@contextmanager
def _told() -> Iterator[None]:
    """What went wrong, in a sentence; IssuesOff where there are none."""
    try:
        with github.told():
            yield
    except Refused as error:
        if str(error).startswith("GitHub answers 410") and "disabled" in str(error):
            raise IssuesOff(str(error)) from error
        raise
