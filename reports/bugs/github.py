"""The issues of one repository on GitHub: read, opened and changed, with patience where GitHub is busy or ill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, TypeVar

import requests
from github import Auth, Github, GithubException, GithubRetry, RateLimitExceededException
from github.GithubException import RateLimitExceededExceedsMaxWait
from github.Issue import Issue as GithubIssue
from github.IssueComment import IssueComment
from github.Repository import Repository
from urllib3.response import BaseHTTPResponse

from matrix.cells import Record
from matrix.errors import Infrastructure
from reports.bugs.issue import LABEL, Change, Issue, New, Note, note_key

ACTIONS = "github-actions[bot]"
"""Who writes with the token of a job, which may not ask for its own name."""

COLOURS = {LABEL: "b60205"}
COLOUR = "ededed"
"""Of labels that we make."""

BUSY = (403, 429)
"""What GitHub answers where a limit is reached: then it has done nothing."""
ALONE = (404, 410, 422)
"""What it answers where one request is wrong, and others may not be."""

T = TypeVar("T")


class IssuesOff(Infrastructure):
    """The repository has no issues, as a fork has none at first."""


class Refused(Infrastructure):
    """GitHub has refused this request; another one may do."""


class Patience(Record, frozen=True, kw_only=True):
    """How long is waited for GitHub."""

    tries: int = 6
    """After the first one."""
    pause_s: float = 2.0
    """Before the second try; twice as long before each one after it."""
    longest_wait_s: float = 300.0
    """For the end of a limit, as GitHub tells it; longer than that, the next night goes on."""
    between_writes_s: float = 1.0
    """As GitHub asks of programs that write."""
    answer_s: int = 30


class Retry(GithubRetry):
    """Tries again what may be done twice, and a POST only where GitHub has told that it did nothing."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Of an answer; what never was answered is tried again by method alone."""
        if method.upper() == "POST":
            return status_code in BUSY
        return super().is_retry(method, status_code, has_retry_after)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds to wait, as the answer tells in one of two ways."""
        told = super().get_retry_after(response)
        if told is None and response.headers.get("X-RateLimit-Remaining") == "0":
            told = max(0.0, float(response.headers.get("X-RateLimit-Reset", 0)) - time.time()) + 1
        return told

    def increment(self, method: Any = None, url: Any = None, response: Any = None, *more: Any, **named: Any) -> Any:
        """The next try; RateLimitExceededExceedsMaxWait where it would have to wait too long."""
        wait = self.get_retry_after(response) if response is not None else None
        if wait is not None and self.max_rate_limit_wait is not None and wait > self.max_rate_limit_wait:
            told = {"message": f"the limit of requests is reached for {wait:.0f} s"}
            raise RateLimitExceededExceedsMaxWait(response.status, told, dict(response.headers), wait=wait)
        return super().increment(method, url, response, *more, **named)


class Tracker:
    """The issues of a repository that are ours; `opened` makes one."""

    def __init__(self, repository: Repository, github: Github, patience: Patience) -> None:
        self._repository = repository
        self._github = github
        self._patience = patience

    @cached_property
    def me(self) -> str:
        """The login that writes here; empty without a token."""
        if self._github.requester.auth is None:
            return ""
        with _told(), _silent():
            try:
                return self._github.get_user().login
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
            made = self._once(
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
            self._once(lambda: issue.create_comment(note.body), lambda: next(iter(made()), None))
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
                    self._once(partial(self._make_label, name), partial(known, name))
                except GithubException as error:
                    if error.status != 422:  # another run has made it meanwhile
                        raise

    def _make_label(self, name: str) -> bool:
        self._repository.create_label(name, COLOURS.get(name, COLOUR))
        return True

    def _once(self, make: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Make something. Where no answer tells whether it was made, look for it before it is made again."""
        for number in range(self._patience.tries):
            try:
                return make()
            except (requests.ConnectionError, requests.Timeout):
                pass
            except GithubException as error:
                if error.status < 500:
                    raise
            time.sleep(self._patience.pause_s * 2**number)  # back-off; as often as `patience` has tries
            if (found := find()) is not None:
                return found
        return make()


@contextmanager
def opened(repository: str, *, token: str, api: str, patience: Patience | None = None) -> Iterator[Tracker]:
    """The issues of `owner/name`; without a token they can only be read."""
    patience = patience or Patience()
    retry = Retry(
        total=patience.tries,
        backoff_factor=patience.pause_s,
        max_rate_limit_wait=patience.longest_wait_s,
        secondary_rate_wait=min(60.0, patience.longest_wait_s),
        status_forcelist=[*range(500, 600), *BUSY],
        allowed_methods={"GET", "PATCH", "DELETE"},
    )
    github = Github(
        auth=Auth.Token(token) if token else None,
        base_url=api,
        timeout=patience.answer_s,
        per_page=100,
        retry=retry,
        seconds_between_requests=None,
        seconds_between_writes=patience.between_writes_s or None,
        lazy=True,
    )
    try:
        yield Tracker(github.get_repo(repository), github, patience)
    finally:
        github.close()


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
    """What went wrong, in a sentence."""
    try:
        yield
    except GithubException as error:
        said = error.data.get("message", "") if isinstance(error.data, dict) else error.data
        message = f"GitHub answers {error.status}: {said or error.message or 'nothing more'}"
        if error.status == 410 and "disabled" in message:
            raise IssuesOff(message) from error
        raise (Refused if error.status in ALONE else Infrastructure)(message) from error
    except requests.RequestException as error:
        raise Infrastructure(f"GitHub cannot be reached: {error}") from error
