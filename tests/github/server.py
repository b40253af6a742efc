"""A small GitHub of our own: issues and pull requests of one repository over HTTP, in the shapes that GitHub publishes.

It keeps what it is told, and can misbehave: answer 502, name a limit, or drop a connection, before or after it has done
what was asked.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

OWNER = "lab"
REPOSITORY = f"{OWNER}/readiness"
TOKENS = {"job-token": "github-actions[bot]", "ann-token": "ann", "guest-token": "guest"}
"""Who may do what: the job writes but may not ask who it is, Ann owns the repository, a guest only opens issues."""
WRITERS = ("github-actions[bot]", "ann")
PAGE = 30
MOST_CHARACTERS = 65_536
BEGINNING = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Trouble:
    """What befalls one request."""

    status: int | None = None
    """Answered in the place of what it was; None: the connection ends without an answer."""
    done: bool = False
    """What was asked for is done all the same."""
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "Server Error"
    delay_s: float = 0.0
    """Before all of this; with a status of 0, it is the only trouble."""


Befalls = Callable[[int, str, str], Trouble | None]
"""From the number of a request (from 1), its method and its path."""


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    body: Any
    status: int = 0


class Answer(Exception):
    """What ends a request otherwise than well."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class GitHub:
    """One repository, its issues, comments, labels and pull requests; `serving` puts it on a socket."""

    def __init__(self) -> None:
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.labels: dict[str, dict[str, Any]] = {}
        self.pulls: dict[int, dict[str, Any]] = {}
        self.pulls_permitted = True
        """By the setting that lets jobs open them."""
        self.asked: list[Asked] = []
        self.befalls: Befalls = lambda number, method, path: None
        self.issues_on = True
        self.pages_on = True
        self.url = ""
        """By which clients reach it; addresses in answers begin with it."""
        self._lock = threading.Lock()
        self._ids = 1000

    # --- for tests: what people do, and what they see -----------------------------------------------------

    def as_person(self, method: str, path: str, body: Body | None = None, login: str = "ann") -> Any:
        """Do something as somebody, past the network and past all trouble."""
        with self._lock:
            return self._route(method, f"/repos/{REPOSITORY}{path}", {}, dict(body or {}), login)[1]

    def seen(self) -> dict[int, dict[str, Any]]:
        """What a reader sees of all issues, comments included."""
        wanted = ("title", "body", "state", "state_reason")
        return {
            number: {name: issue[name] for name in wanted}
            | {"labels": sorted(label["name"] for label in issue["labels"]), "comments": self.told(number)}
            for number, issue in sorted(self.issues.items())
        }

    def told(self, number: int) -> list[str]:
        """The comments of an issue."""
        return [one["body"] for _, one in sorted(self.comments.items()) if one["number"] == number]

    @property
    def writes(self) -> list[Asked]:
        """Requests that were to change something."""
        return [one for one in self.asked if one.method != "GET"]

    # --- requests -----------------------------------------------------------------------------------------

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]] | None:
        """Status, JSON and headers; None where the connection ends without a word."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        with self._lock:
            asked = Asked(method=method, path=parts.path, body=body)
            self.asked.append(asked)
            trouble = self.befalls(len(self.asked), method, parts.path)
        if trouble is not None and trouble.delay_s:
            time.sleep(trouble.delay_s)  # a slow listing, as long as the test says
        if trouble is not None and trouble.status != 0:
            if trouble.done:
                with self._lock:
                    self._safely(method, parts.path, query, body, headers)
            asked.status = trouble.status or 0
            return (
                None if trouble.status is None else (trouble.status, {"message": trouble.message}, {**trouble.headers})
            )
        with self._lock:
            status, said, more = self._safely(method, parts.path, query, body, headers)
        asked.status = status
        return status, said, more

    def _safely(
        self, method: str, path: str, query: dict[str, str], body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        kind, _, token = headers.get("authorization", "").partition(" ")
        login = TOKENS.get(token) if kind.lower() in ("token", "bearer") else None
        try:
            if token and login is None:
                raise Answer(401, "Bad credentials")
            if login is None and method != "GET":
                raise Answer(404, "Not Found")
            status, said = self._route(method, path, query, body, login or "")
        except Answer as error:
            return error.status, {"message": error.message, "documentation_url": "https://docs.github.com/rest"}, {}
        return self._paged(status, said, path, query) if isinstance(said, list) else (status, said, {})

    def _paged(self, status: int, said: list[Any], path: str, query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        size, page = min(100, int(query.get("per_page", PAGE))), int(query.get("page", 1))
        last = max(1, math.ceil(len(said) / size))
        pages = {"next": page + 1, "last": last} if page < last else {}
        links = [f'<{self.url}{path}?{urlencode({**query, "page": n})}>; rel="{name}"' for name, n in pages.items()]
        return status, said[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}

    def _route(self, method: str, path: str, query: dict[str, str], body: Any, login: str) -> tuple[int, Any]:
        if path == "/user":
            return self._user(login)
        found = re.fullmatch(rf"/repos/{REPOSITORY}(/.*)?", unquote(path))
        if found is None:
            raise Answer(404, "Not Found")
        for (verb, pattern), do in ROUTES.items():
            if verb == method and (match := re.fullmatch(pattern, found[1] or "")):
                if "issues" in pattern and not self.issues_on:
                    raise Answer(410, "Issues has been disabled in this repository.")
                return do(self, *map(int, match.groups()), query=query, body=body, login=login)
        raise Answer(404, "Not Found")

    def _user(self, login: str) -> tuple[int, Any]:
        if not login:
            raise Answer(401, "Requires authentication")
        if login.endswith("[bot]"):
            raise Answer(403, "Resource not accessible by integration")
        counts = ("public_repos", "public_gists", "followers", "following", "total_private_repos", "collaborators")
        more = ("owned_private_repos", "private_gists", "disk_usage")
        return 200, {
            **self._person(login),
            **dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio"), None),
            "blog": "",
            **dict.fromkeys((*counts, *more), 0),
            "two_factor_authentication": True,
            "created_at": _moment(0),
            "updated_at": _moment(0),
        }

    def pages(self, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        if not self.pages_on:
            raise Answer(404, "Not Found")
        return 200, {"status": "built"}

    def list_issues(self, *, query: Mapping[str, str], body: Body, login: str) -> tuple[int, Any]:
        assert query.get("sort", "created") == "created"
        wanted, state = query.get("labels", ""), query.get("state", "open")
        labels = {label.lower() for label in wanted.split(",") if label}
        found = [
            issue
            for issue in self.issues.values()
            if state in ("all", issue["state"])
            and labels <= {label["name"].lower() for label in issue["labels"]}
            and query.get("creator", issue["user"]["login"]) == issue["user"]["login"]
        ]
        return 200, sorted(found, key=lambda issue: issue["number"], reverse=query.get("direction", "desc") == "desc")

    def open_issue(self, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        self._check(body, ("title",))
        number = max((*self.issues, *self.pulls), default=0) + 1
        address = f"{self.url}/repos/{REPOSITORY}/issues/{number}"
        identity = self._identity("I")
        self.issues[number] = {
            **identity,
            "number": number,
            "title": body["title"],
            "body": body.get("body"),
            "user": self._person(login),
            "labels": self._labels_of(body, login),
            "state": "open",
            "state_reason": None,
            "locked": False,
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "comments": 0,
            "created_at": _moment(identity["id"]),
            "updated_at": _moment(identity["id"]),
            "closed_at": None,
            "author_association": "NONE",
            "url": address,
            "repository_url": f"{self.url}/repos/{REPOSITORY}",
            "labels_url": f"{address}/labels{{/name}}",
            "comments_url": f"{address}/comments",
            "events_url": f"{address}/events",
            "html_url": f"https://github.com/{REPOSITORY}/issues/{number}",
        }
        return 201, self.issues[number]

    def get_issue(self, number: int, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        return 200, self._known(number)

    def change_issue(self, number: int, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        issue = self._known(number)
        if login not in (*WRITERS, issue["user"]["login"]):
            raise Answer(403, "Must have admin rights to Repository.")
        self._check(body, ())
        issue |= {name: body[name] for name in ("title", "body") if name in body}
        if "labels" in body:
            issue["labels"] = self._labels_of(body, login)
        if body.get("state", issue["state"]) != issue["state"]:
            open_now = body["state"] == "open"
            issue["state"] = body["state"]
            issue["state_reason"] = "reopened" if open_now else body.get("state_reason") or "completed"
            issue["closed_at"] = None if open_now else _moment(self._next())
        elif issue["state"] == "closed" and body.get("state_reason"):
            issue["state_reason"] = body["state_reason"]
        issue["updated_at"] = _moment(self._next())
        return 200, issue

    def list_comments(self, number: int, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        self._known(number)
        found = [one for _, one in sorted(self.comments.items()) if one["number"] == number]
        return 200, [{name: value for name, value in one.items() if name != "number"} for one in found]

    def comment(self, number: int, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        issue = self._known(number)
        self._check(body, ("body",))
        identity = self._identity("IC")
        key = identity["id"]
        made = {
            **identity,
            "body": body["body"],
            "user": self._person(login),
            "created_at": _moment(key),
            "updated_at": _moment(key),
            "author_association": "NONE",
            "url": f"{self.url}/repos/{REPOSITORY}/issues/comments/{key}",
            "issue_url": issue["url"],
            "html_url": f"{issue['html_url']}#issuecomment-{key}",
        }
        self.comments[key] = {**made, "number": number}
        issue["comments"] += 1
        return 201, made

    def delete_comment(self, key: int, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        if key not in self.comments or login not in WRITERS:
            raise Answer(404, "Not Found")
        self.issues[self.comments.pop(key)["number"]]["comments"] -= 1
        return 204, None

    def list_labels(self, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        return 200, list(self.labels.values())

    def make_label(self, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        if login not in WRITERS:
            raise Answer(404, "Not Found")
        if body["name"].lower() in self.labels:
            raise Answer(422, "Validation Failed")
        return 201, self._label(body["name"], body.get("color", "ededed"))

    def repository(self, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        return 200, {"full_name": REPOSITORY, "name": REPOSITORY.partition("/")[2], "default_branch": "main"}

    def list_pulls(self, *, query: Mapping[str, str], body: Body, login: str) -> tuple[int, Any]:
        head, state = query.get("head"), query.get("state", "open")
        return 200, [
            self._pull(number)
            for number, pull in sorted(self.pulls.items(), reverse=True)
            if state in ("all", pull["state"]) and head in (None, f"{OWNER}:{pull['head']['ref']}")
        ]

    def open_pull(self, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        if login.endswith("[bot]") and not self.pulls_permitted:
            raise Answer(403, "GitHub Actions is not permitted to create or approve pull requests.")
        self._check(body, ("title", "head", "base"))
        if any(one["state"] == "open" and one["head"]["ref"] == body["head"] for one in self.pulls.values()):
            raise Answer(422, "Validation Failed")
        number = max((*self.issues, *self.pulls), default=0) + 1
        self.pulls[number] = {
            **self._identity("PR"),
            "number": number,
            "state": "open",
            "title": body["title"],
            "body": body.get("body"),
            "user": self._person(login),
            "head": {"ref": body["head"], "label": f"{OWNER}:{body['head']}"},
            "base": {"ref": body["base"], "label": f"{OWNER}:{body['base']}"},
        }
        return 201, self._pull(number)

    def change_pull(self, number: int, *, query: Body, body: Body, login: str) -> tuple[int, Any]:
        if number not in self.pulls:
            raise Answer(404, "Not Found")
        self._check(body, ())
        self.pulls[number] |= {name: body[name] for name in ("title", "body", "state") if name in body}
        return 200, self._pull(number)

    # --- shapes -------------------------------------------------------------------------------------------

    def _known(self, number: int) -> dict[str, Any]:
        if number not in self.issues:
            raise Answer(404, "Not Found")
        return self.issues[number]

    def _pull(self, number: int) -> dict[str, Any]:
        """With the address by which we are reached now."""
        return {**self.pulls[number], "url": f"{self.url}/repos/{REPOSITORY}/pulls/{number}"}

    def _check(self, body: Body, needed: tuple[str, ...]) -> None:
        if any(not body.get(name) for name in needed) or len(body.get("body") or "") > MOST_CHARACTERS:
            raise Answer(422, "Validation Failed")

    def _labels_of(self, body: Body, login: str) -> list[dict[str, Any]]:
        """Who may not write to the repository sets no label, and is not told so."""
        names = body.get("labels", []) if login in WRITERS else []
        return [self.labels.get(name.lower()) or self._label(name, "ededed") for name in names]

    def _label(self, name: str, colour: str) -> dict[str, Any]:
        made = self.labels[name.lower()] = {
            **self._identity("LA"),
            "name": name,
            "color": colour,
            "default": False,
            "description": None,
            "url": f"{self.url}/repos/{REPOSITORY}/labels/{quote(name)}",
        }
        return made

    def _person(self, login: str) -> dict[str, Any]:
        address = f"{self.url}/users/{quote(login)}"
        kinds = ("followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events")
        return {
            "login": login,
            "id": sum(map(ord, login)),
            "node_id": f"U_{login}",
            "avatar_url": f"{address}/avatar",
            "gravatar_id": "",
            "url": address,
            "html_url": f"https://github.com/{quote(login)}",
            **{f"{kind}_url": f"{address}/{kind}" for kind in kinds},
            "received_events_url": f"{address}/received_events",
            "type": "Bot" if login.endswith("[bot]") else "User",
            "site_admin": False,
        }

    def _identity(self, kind: str) -> dict[str, Any]:
        number = self._next()
        return {"id": number, "node_id": f"{kind}_{number}"}

    def _next(self) -> int:
        self._ids += 1
        return self._ids


ROUTES: dict[tuple[str, str], Callable[..., tuple[int, Any]]] = {
    ("GET", ""): GitHub.repository,
    ("GET", "/pages"): GitHub.pages,
    ("GET", "/pulls"): GitHub.list_pulls,
    ("POST", "/pulls"): GitHub.open_pull,
    ("PATCH", r"/pulls/(\d+)"): GitHub.change_pull,
    ("GET", "/issues"): GitHub.list_issues,
    ("POST", "/issues"): GitHub.open_issue,
    ("GET", r"/issues/(\d+)"): GitHub.get_issue,
    ("PATCH", r"/issues/(\d+)"): GitHub.change_issue,
    ("GET", r"/issues/(\d+)/comments"): GitHub.list_comments,
    ("POST", r"/issues/(\d+)/comments"): GitHub.comment,
    ("DELETE", r"/issues/comments/(\d+)"): GitHub.delete_comment,
    ("GET", "/labels"): GitHub.list_labels,
    ("POST", "/labels"): GitHub.make_label,
}


def _moment(number: int) -> str:
    return f"{BEGINNING + dt.timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def serving(github: GitHub) -> Iterator[str]:
    """Put it on loopback; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = github.answer(self.command, self.path, headers, json.loads(sent) if sent else {})
            if found is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, said, headers = found
            data = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            more = {"Content-Type": "application/json; charset=utf-8"} if data else {}
            for name, value in {**more, **headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 # the library's names

        def log_message(self, format: str, *arguments: object) -> None:
            """Requests are kept in `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    github.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
