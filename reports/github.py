"""GitHub's REST API for one repository, with patience where GitHub is busy or ill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import requests
from github import Auth, Github, GithubException, GithubRetry
from github.GithubException import RateLimitExceededExceedsMaxWait
from github.Repository import Repository
from urllib3.response import BaseHTTPResponse

from matrix.cells import Record
from matrix.errors import Infrastructure

BUSY = (403, 429)
"""What GitHub answers where a limit is reached: then it has done nothing."""
ALONE = (404, 410, 422)
"""What it answers where one request is wrong, and others may not be."""

T = TypeVar("T")


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


class There(Record, frozen=True, kw_only=True):
    """One repository, its client, and how long is waited for it; `repository` makes one."""

    repository: Repository
    client: Github
    patience: Patience

    def once(self, make: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Make something. Where no answer tells whether it was made, look for it before it is made again."""
        for number in range(self.patience.tries):
            try:
                return make()
            except (requests.ConnectionError, requests.Timeout):
                pass
            except GithubException as error:
                if error.status < 500:
                    raise
            time.sleep(self.patience.pause_s * 2**number)  # back-off; as often as `patience` has tries
            if (found := find()) is not None:
                return found
        return make()


@contextmanager
def repository(name: str, *, token: str, api: str, patience: Patience | None = None) -> Iterator[There]:
    """`owner/name`; without a token it can only be read."""
    patience = patience or Patience()
    retry = Retry(
        total=patience.tries,
        backoff_factor=patience.pause_s,
        max_rate_limit_wait=patience.longest_wait_s,
        secondary_rate_wait=min(60.0, patience.longest_wait_s),
        status_forcelist=[*range(500, 600), *BUSY],
        allowed_methods={"GET", "PATCH", "DELETE"},
    )
    client = Github(
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
        yield There(repository=client.get_repo(name), client=client, patience=patience)
    finally:
        client.close()


@contextmanager
def told() -> Iterator[None]:
    """What went wrong, in a sentence: Refused where another request may do, Infrastructure otherwise."""
    try:
        yield
    except GithubException as error:
        said = error.data.get("message", "") if isinstance(error.data, dict) else error.data
        message = f"GitHub answers {error.status}: {said or error.message or 'nothing more'}"
        raise (Refused if error.status in ALONE else Infrastructure)(message) from error
    except requests.RequestException as error:
        raise Infrastructure(f"GitHub cannot be reached: {error}") from error
