"""GitHub busy, ill or gone, a run that is killed anywhere, and two runs at once: nothing twice, and nothing lost."""

from __future__ import annotations

import contextlib
import copy
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from matrix.errors import Infrastructure
from reports.bugs import github
from reports.bugs.tracking import CLEAN_NIGHTS
from tests.github.bench import HASTY, ONE, Bench, dead_after, failure, gone, once, report, steps
from tests.github.server import GitHub, Trouble

NAMES = [f"alpha-loading-{number:012x}" for number in range(1, 11)]

BEFORE = [*(report(failure(name)) for name in NAMES[:3])]
SECOND = [gone(CLEAN_NIGHTS, NAMES[0]), *(report(failure(name)) for name in NAMES[1:6])]
FULL = [
    report(failure(NAMES[0])),  # it is back
    gone(CLEAN_NIGHTS, NAMES[1]),
    report(failure(NAMES[2], models=("small", "large"))),
    report(failure(NAMES[3], aliases=(NAMES[4],)), body="Two that are one."),
    *(report(failure(name)) for name in NAMES[5:]),
    *(report(failure(f"beta-loading-{number:012x}")) for number in range(5)),
]
"""A night on which everything happens that can."""


def state(hub: GitHub) -> dict[str, Any]:
    return copy.deepcopy({name: getattr(hub, name) for name in ("issues", "comments", "labels", "_ids")})


def put(hub: GitHub, before: dict[str, Any]) -> None:
    for name, value in copy.deepcopy(before).items():
        setattr(hub, name, value)


@pytest.fixture
def full(bench: Bench) -> Bench:
    """The evening before the full night."""
    bench.sync(*BEFORE)
    bench.sync(*SECOND)
    return bench


def test_a_night_on_which_everything_happens(full: Bench) -> None:
    """Every kind of step is among them, so that the tests below meet all."""
    done = full.sync(*FULL)
    kinds = {step.partition(":")[0] for step in steps(done)}
    assert kinds == {"reopened", "closed", "updated", "closed as a duplicate", "opened"}
    assert len(done.waiting) == 3


@pytest.mark.parametrize("done", [False, True], ids=["undone", "done"])
def test_a_run_that_is_killed_at_any_request_is_gone_on_with_by_the_next(full: Bench, done: bool) -> None:
    """Whether or not GitHub still did what was asked last, all ends as if nothing had happened."""
    before, first = state(full.hub), len(full.hub.asked)
    full.sync(*FULL)
    asked = full.hub.asked[first:]
    expected = full.hub.seen()
    assert len(asked) > 50
    for killed, request in enumerate(asked):
        if done and request.method == "GET":
            continue  # the same as undone
        put(full.hub, before)
        # It may not even have read the tracker then.
        with full.befalling(dead_after(killed, done=done)), contextlib.suppress(Infrastructure):
            assert full.sync(*FULL, again=True, patience=HASTY).trouble
        full.sync(*FULL, again=True)
        assert full.hub.seen() == expected, f"killed at request {killed + 1}"


TROUBLES = {
    "502": Trouble(status=502),
    "502, done": Trouble(status=502, done=True),
    "dropped": Trouble(),
    "dropped, done": Trouble(done=True),
    "too many": Trouble(status=429, headers={"Retry-After": "1"}),
    "too many, until": Trouble(status=429, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}),
    "secondary limit": Trouble(
        status=403, headers={"Retry-After": "1"}, message="You have exceeded a secondary rate limit."
    ),
    "primary limit": Trouble(
        status=403,
        headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"},
        message="API rate limit exceeded for installation.",
    ),
}
PLACES = [
    ("GET", "/issues"), ("GET", "/labels"), ("POST", "/labels"), ("POST", "/issues"), ("POST", "/comments"),
    ("PATCH", "/1"),
]  # fmt: skip


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_that_passes_is_waited_for_and_nothing_is_done_twice(full: Bench, name: str) -> None:
    """At any kind of request, once: one run does all, and what GitHub did without saying so is not done again."""
    before, trouble = state(full.hub), TROUBLES[name]
    full.sync(*FULL)
    expected = full.hub.seen()
    places = PLACES if "1" not in trouble.headers.values() else PLACES[3:4]  # these wait a second each
    for method, path in places:
        put(full.hub, before)
        hit = once(trouble, method, path)
        with full.befalling(hit):
            assert full.sync(*FULL, again=True).trouble == ()
        assert full.hub.seen() == expected, (method, path)
        assert hit(1, method, path) is None, "it never befell"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble(status=502), "502"),
        (Trouble(), "GitHub cannot be reached"),
        (
            Trouble(status=403, headers={"Retry-After": "3600"}, message="You have exceeded a secondary rate limit."),
            "the limit of requests is reached for 3600 s",
        ),
        (Trouble(status=429, headers={"Retry-After": "3600"}), "the limit of requests is reached for 3600 s"),
        (
            Trouble(
                status=403,
                headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 9000)},
                message="API rate limit exceeded.",
            ),
            "the limit of requests is reached for",
        ),
        (Trouble(status=403, message="Resource not accessible by integration"), "Resource not accessible"),
        (Trouble(status=401, message="Bad credentials"), "GitHub answers 401: Bad credentials"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Trouble) else "",
)
def test_trouble_that_stays_ends_the_run_with_a_sentence_and_loses_nothing(
    full: Bench, trouble: Trouble, words: str
) -> None:
    """What was done is told, what was not is left; the next run does the rest."""
    before = state(full.hub)
    full.sync(*FULL)
    expected = full.hub.seen()
    put(full.hub, before)
    with full.befalling(lambda number, method, path: trouble if number > 30 else None):
        done = full.sync(*FULL, again=True)
    (told,) = done.trouble
    assert words in told and "all that follows is left for another run" in told
    assert done.steps
    full.sync(*FULL, again=True)
    assert full.hub.seen() == expected


def test_an_issue_that_github_refuses_to_change_keeps_no_other_from_being_filed(full: Bench) -> None:
    """It is named, and everything else is done."""
    refused = Trouble(status=422, message="Validation Failed")
    with full.befalling(lambda number, method, path: refused if (method, path[-2:]) == ("PATCH", "/1") else None):
        done = full.sync(*FULL)
    assert done.trouble == (f"{NAMES[0]}: GitHub answers 422: Validation Failed",)
    assert steps(full.sync(*FULL, again=True)) == [f"reopened: #1, {NAMES[0]}"]


def test_two_runs_at_once_leave_one_issue_a_failure_and_one_comment_a_change(full: Bench) -> None:
    """The lower number stays; the run that comes last, or the next one, closes what is double."""
    before = state(full.hub)
    full.sync(*FULL)
    expected = len([one for one in full.hub.issues.values() if one["state"] == "open"])
    for turn in range(12):
        put(full.hub, before)
        slow = Trouble(status=0, delay_s=0.005 * (turn % 4))

        with full.befalling(partial(slowly, slow)), ThreadPoolExecutor(2) as pool:
            both = [pool.submit(full.sync, *FULL, again=True) for _ in range(2)]
        assert [done.result().trouble for done in both] == [(), ()]
        full.sync(*FULL, again=True)
        assert full.sync(*FULL, again=True).steps == ()
        unique(full, expected)


def slowly(slow: Trouble, number: int, method: str, path: str) -> Trouble | None:
    return slow if method == "GET" else None


def unique(bench: Bench, expected: int) -> None:
    open_now = [one for one in bench.hub.issues.values() if one["state"] == "open"]
    ids = [one["body"].partition('"id":"')[2].partition('"')[0] for one in open_now]
    assert len(ids) == len(set(ids)) == expected
    for number in bench.hub.issues:
        keys = [told.partition("\n")[0] for told in bench.hub.told(number)]
        assert len(keys) == len(set(keys))


def test_an_issue_that_a_dropped_answer_and_another_run_have_doubled_is_closed_as_a_duplicate(bench: Bench) -> None:
    """Of two with the same hidden line the later one goes, with a word on the first."""
    bench.sync(report())
    first = bench.hub.issues[1]
    twin = {"title": first["title"], "body": first["body"], "labels": ["engine-failure"]}
    bench.hub.as_person("POST", "/issues", twin, login="github-actions[bot]")
    assert steps(bench.sync(report())) == [f"closed as a duplicate: #2, {ONE}"]
    assert bench.sync(report()).steps == ()


def test_without_issues_in_the_repository_there_is_nothing_to_keep(bench: Bench) -> None:
    """A fork has none at first: that is told apart from trouble."""
    bench.hub.issues_on = False
    with pytest.raises(github.IssuesOff):
        bench.sync(report())


def test_who_may_not_set_labels_opens_nothing(bench: Bench) -> None:
    """So that a wrong repository, or a token of too little, ends before the first issue."""
    (told,) = bench.sync(report(), token="guest-token").trouble
    assert told == f"{ONE}: GitHub answers 404: Not Found"
    assert bench.hub.issues == {}


def test_an_issue_whose_label_was_dropped_in_silence_is_told(bench: Bench) -> None:
    """Without its label it would be taken for one that a person has taken over."""
    for name in ("engine-failure", "engine: alpha"):
        bench.hub.as_person("POST", "/labels", {"name": name})
    (told,) = bench.sync(report(), token="guest-token").trouble
    assert "issue 1 did not get the label engine-failure" in told


def test_more_issues_than_a_page_holds_are_all_found(bench: Bench) -> None:
    """And so are those that other people have opened, which are none of ours."""
    for number in range(230):
        bench.hub.as_person("POST", "/issues", {"title": f"{number}", "body": "x", "labels": ["engine-failure"]})
    bench.sync(report())
    for number in range(120):
        bench.hub.as_person("POST", "/issues/231/comments", {"body": f"{number}"})
    spread = report(failure(models=("small", "large")))
    bench.sync(spread)
    assert bench.sync(spread).steps == ()
    assert len(bench.hub.told(231)) == 121
