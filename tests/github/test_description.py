"""Every request of the tracker is one that GitHub's own description of its API allows, and so are the answers here."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.bugs.tracking import CLEAN_NIGHTS
from tests.conftest import absent
from tests.github import description
from tests.github.bench import Bench, failure, gone, report
from tests.github.server import REPOSITORY, GitHub, serving


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path]]:
    """The small GitHub behind the proxy, and the proxy's log."""
    if shutil.which("npm") is None:
        absent("browser", "npm", "install Node.js")
    description.installed()
    log = tmp_path_factory.mktemp("proxy") / "log"
    hub = GitHub()
    with serving(hub) as address, description.proxy(address, log) as checking:
        hub.url = checking
        yield Bench(hub, checking), log


def test_every_kind_of_request_is_one_that_github_describes(checked: tuple[Bench, Path]) -> None:
    """A life of issues that needs every operation; the proxy finds nothing wrong in any request or answer."""
    bench, log = checked
    names = [f"alpha-loading-{number:012x}" for number in range(1, 7)]
    for token in ("job-token", "ann-token"):
        spread = report(failure(names[0], aliases=names[1:2], models=("small", "large")))
        for reports in (
            [report(failure(name)) for name in names],
            [spread, *(report(failure(name)) for name in names[2:])],
            [gone(CLEAN_NIGHTS, names[0]), gone(CLEAN_NIGHTS, names[2])],
            [spread],
        ):
            assert bench.sync(*reports, token=token).trouble == ()
    key = bench.hub.as_person("POST", "/issues/1/comments", {"body": bench.hub.told(1)[0]}, "github-actions[bot]")["id"]
    bench.hub.issues[1]["body"] = bench.hub.issues[1]["body"].replace(
        '"models":["small","large"]', '"models":["small"]'
    )
    assert bench.sync(spread).trouble == ()
    assert key not in bench.hub.comments  # the comment that was double
    assert {(one.method.lower(), operation(one.path)) for one in bench.hub.asked} == {
        (method, path) for path, methods in description.PATHS.items() for method in methods
    }
    assert [one for one in bench.hub.asked if one.status >= 400 and one.path != "/user"] == []
    assert not re.search(r"violation|UNPROCESSABLE|did not match|✖", log.read_text()), log.read_text()


def operation(path: str) -> str:
    """A path as the description writes it."""
    path = path.replace(f"/repos/{REPOSITORY}", "/repos/{owner}/{repo}")
    return re.sub(r"comments/\d+", "comments/{comment_id}", re.sub(r"issues/\d+", "issues/{issue_number}", path))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/issues?state=every", None),
        ("POST", "/issues", {"body": "no title"}),
        ("POST", "/issues", {"title": ["no text"]}),
        ("PATCH", "/issues/1", {"state": "shut"}),
        ("PATCH", "/issues/1", {"state_reason": "tired"}),
        ("POST", "/issues/1/comments", {"text": "no body"}),
        ("POST", "/labels", {"color": "no name"}),
        ("POST", "/milestones", {"title": "not among what we ask"}),
    ],
)
def test_the_proxy_refuses_what_github_does_not_describe(
    checked: tuple[Bench, Path], method: str, path: str, body: dict[str, Any] | None
) -> None:
    """So that its silence means something: it passes over a whole schema without a word where a part is not its own."""
    bench, _ = checked
    asked = len(bench.hub.asked)
    with pytest.raises(urllib.error.HTTPError):
        ask(bench, method, path, body)
    assert len(bench.hub.asked) == asked


@pytest.mark.parametrize("path", ["/issues", "/issues/1"])
def test_the_proxy_refuses_answers_that_github_does_not_describe(checked: tuple[Bench, Path], path: str) -> None:
    """So that the small GitHub is like the large one."""
    bench, _ = checked
    number = bench.hub.as_person("POST", "/issues", {"title": "x"})["number"]
    ask(bench, "GET", path, None)
    kept = {name: bench.hub.issues[name].pop("user") for name in (1, number)}
    with pytest.raises(urllib.error.HTTPError):
        ask(bench, "GET", path, None)
    for name, user in kept.items():
        bench.hub.issues[name]["user"] = user


def ask(bench: Bench, method: str, path: str, body: dict[str, Any] | None) -> None:
    request = urllib.request.Request(
        f"{bench.address}/repos/{REPOSITORY}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json", "Authorization": "token job-token"},
    )
    urllib.request.urlopen(request).read()
