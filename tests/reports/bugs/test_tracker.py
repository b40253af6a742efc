"""What becomes of issues: opened, spread, closed, opened again, and what people have decided about them."""

from __future__ import annotations

import re

import pytest

from matrix.results import Status
from reports.bugs.issue import LABEL, LIMIT, Issue, Marker, written
from reports.bugs.tracker import Report
from reports.bugs.tracking import CLEAN_NIGHTS, PASSED_NIGHTS
from tests.github.bench import ONE, Bench, failure, gone, report, steps

TWO, THREE = "alpha-loading-000000000002", "alpha-loading-000000000003"


def text(bench: Bench, number: int = 1) -> str:
    """The body without its hidden line."""
    return re.sub(r"<!-- readiness-failure .* -->\n", "", str(bench.hub.seen()[number]["body"]))


def state(bench: Bench, number: int = 1) -> tuple[str, str | None]:
    issue = bench.hub.seen()[number]
    return issue["state"], issue["state_reason"]


def test_a_failure_becomes_one_issue_and_a_second_run_changes_nothing(bench: Bench) -> None:
    """With our label, its engine's, and a hidden line; the second run only reads."""
    assert steps(bench.sync(report())) == [f"opened: {ONE}"]
    (issue,) = bench.hub.seen().values()
    assert (issue["title"], issue["state"], issue["labels"]) == (
        "alpha: loading fails",
        "open",
        [LABEL, "engine: alpha"],
    )
    assert text(bench) == "It crashes."
    writes = len(bench.hub.writes)
    for again in (True, False):
        assert bench.sync(report(), again=again).steps == ()
    assert len(bench.hub.writes) == writes


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (report(failure(confirmed=False)), "seen once, waits for a second run"),
        (report(failure(standing=False)), "gone"),
        (report(failure(models=())), "a result of it blames no engine"),
        (report(failure(status=Status.ERROR)), "a result of it blames no engine"),
        (report(failure(status=Status.UNDECIDED)), "a result of it blames no engine"),
        (report(failure(status=Status.REF_SUSPECT)), "a result of it blames no engine"),
        (report(failure(expected=Status.CRASH)), "a rule expects it"),
        (report(held_back="its program has not shown it"), "its program has not shown it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_filed_of_what_may_not_be_an_engines_fault(bench: Bench, refused: Report, why: str) -> None:
    """Not even where whoever makes failures has let one pass; and a closed issue of such a one stays closed."""
    assert refused.refusal == why
    assert bench.sync(refused).steps == ()
    assert bench.hub.writes == []
    bench.sync(report())
    bench.sync(gone(CLEAN_NIGHTS))
    assert bench.sync(refused).steps == ()
    assert state(bench) == ("closed", "completed")


def test_what_is_new_of_a_failure_is_told_once(bench: Bench) -> None:
    """The body always holds what is known; a comment is made where it reaches another model or device."""
    bench.sync(report())
    assert steps(bench.sync(report(body="It crashes, at line 7."))) == [f"updated: #1, {ONE}"]
    assert (text(bench), bench.hub.told(1)) == ("It crashes, at line 7.", [])
    spread = report(failure(models=("small", "large"), devices=("cpu", "h100x1")))
    assert steps(bench.sync(spread)) == [f"updated: #1, {ONE}"]
    (told,) = bench.hub.told(1)
    assert told.endswith("\nIt shows on more: `large`, `h100x1`.")
    assert bench.sync(spread).steps == ()
    bench.sync(report())
    assert bench.sync(spread).steps == ()  # what was told stays told


def test_a_failure_that_is_gone_for_long_enough_is_closed_and_opened_again_when_it_returns(bench: Bench) -> None:
    """After 14 clean nights, and not after 13; the comment names the release."""
    bench.sync(report())
    assert bench.sync(gone(CLEAN_NIGHTS - 1)).steps == ()
    assert steps(bench.sync(gone(CLEAN_NIGHTS))) == [f"closed: #1, {ONE}"]
    assert state(bench) == ("closed", "completed")
    assert "Not seen on 14 nights in a row that could have shown it, first with `alpha-1.1`." in bench.hub.told(1)[0]
    assert bench.sync(gone(CLEAN_NIGHTS + 1)).steps == ()
    assert steps(bench.sync(report())) == [f"reopened: #1, {ONE}"]
    assert state(bench) == ("open", "reopened")
    assert bench.hub.told(1)[1].endswith("\nIt is back: `alpha-1.0__small__cpu__default`.")
    assert steps(bench.sync(gone(CLEAN_NIGHTS))) == [f"closed: #1, {ONE}"]
    assert len(bench.hub.told(1)) == 3


def test_at_most_three_issues_of_an_engine_are_opened_a_night_and_the_rest_waits_in_a_list(bench: Bench) -> None:
    """The oldest first; a second run of the night opens no more; the list is one issue, closed once nothing waits."""
    many = [report(failure(f"alpha-loading-{number:012x}", minute=50 - number)) for number in range(7)]
    other = report(failure("beta-loading-000000000001"))
    done = bench.sync(*many, other)
    assert [one.failure.id[-1] for one in done.waiting] == ["3", "2", "1", "0"]
    titles = [issue["title"] for issue in bench.hub.seen().values()]
    assert titles == ["beta: loading fails", *["alpha: loading fails"] * 3, "Failures that wait to be filed"]
    assert [f"`alpha-loading-{number:012x}`" in text(bench, 5) for number in range(7)] == [True] * 4 + [False] * 3
    assert bench.sync(*many, other, again=True).steps == ()
    bench.sync(*many, other)
    assert text(bench, 5).count("\n- ") == 1
    assert state(bench, 5) == ("open", None)
    bench.sync(*many, other)
    assert (state(bench, 5), text(bench, 5)) == (("closed", "completed"), "Nothing waits.")
    assert len(bench.hub.issues) == 9
    assert bench.sync(*many, other).steps == ()


@pytest.mark.parametrize(
    "decision",
    [
        {"state": "closed", "state_reason": "not_planned"},
        {"state": "closed", "state_reason": "duplicate"},
        {"state": "closed", "state_reason": "completed"},
        {"state": "closed", "labels": [LABEL, "wontfix"]},
        {"labels": [LABEL, "WontFix"]},
        {"labels": ["mine now"]},
    ],
    ids=str,
)
def test_what_a_person_has_decided_is_not_undone(bench: Bench, decision: dict[str, object]) -> None:
    """While the failure stands, spreads and is gone: no request changes anything, and no second issue is opened."""
    bench.sync(report())
    bench.hub.as_person("PATCH", "/issues/1", decision)
    seen, writes = bench.hub.seen(), len(bench.hub.writes)
    bench.sync(report(failure(models=("small", "large")), body="More."))
    bench.sync(gone(1))
    bench.sync(report())
    assert (bench.hub.seen(), len(bench.hub.writes)) == (seen, writes)
    if decision.get("state_reason") != "completed":
        bench.sync(gone(CLEAN_NIGHTS))
        bench.sync(report())
        assert (bench.hub.seen(), len(bench.hub.writes)) == (seen, writes)


def test_what_a_person_has_closed_as_done_is_opened_again_where_it_was_done(bench: Bench) -> None:
    """The failure has to be gone in between, for more than a night or two: then its return is news."""
    bench.sync(report())
    bench.hub.as_person("PATCH", "/issues/1", {"state": "closed"})
    assert bench.sync(gone(PASSED_NIGHTS - 1)).steps == ()
    assert steps(bench.sync(gone(PASSED_NIGHTS))) == [f"marked as passed: #1, {ONE}"]
    assert (text(bench), bench.hub.told(1)) == ("It crashes.", [])
    assert bench.sync(gone(PASSED_NIGHTS + 1)).steps == ()
    assert steps(bench.sync(report())) == [f"reopened: #1, {ONE}"]


def test_what_a_person_has_opened_again_is_closed_only_after_it_has_come_back_and_gone(bench: Bench) -> None:
    """They do not believe us, and may be right."""
    bench.sync(report())
    bench.sync(gone(CLEAN_NIGHTS))
    bench.hub.as_person("PATCH", "/issues/1", {"state": "open"})
    assert bench.sync(gone(CLEAN_NIGHTS + 9)).steps == ()
    assert steps(bench.sync(report())) == [f"updated: #1, {ONE}"]
    assert steps(bench.sync(gone(CLEAN_NIGHTS))) == [f"closed: #1, {ONE}"]
    assert len(bench.hub.told(1)) == 2


def test_titles_labels_comments_and_texts_of_people_stay(bench: Bench) -> None:
    """Our part goes on around them: what spreads is told in a comment, and the issue is closed in the end."""
    bench.sync(report())
    theirs = {
        "title": "A better title",
        "body": bench.hub.seen()[1]["body"].replace("\n", "\r\n") + "\r\n\r\nI have looked at this.",
        "labels": [LABEL, "help wanted"],
    }
    bench.hub.as_person("PATCH", "/issues/1", theirs)
    bench.hub.as_person("POST", "/issues/1/comments", {"body": "Mine."})
    bench.sync(report(failure(models=("small", "large")), body="Other words."))
    bench.sync(gone(CLEAN_NIGHTS))
    issue = bench.hub.seen()[1]
    assert (issue["title"], issue["labels"]) == (theirs["title"], [LABEL, "help wanted"])
    assert issue["body"].endswith("It crashes.\r\n\r\nI have looked at this.")
    assert [told.rpartition("\n")[2][:9] for told in issue["comments"]] == ["Mine.", "It shows ", "Not seen "]
    assert state(bench) == ("closed", "completed")


def test_what_a_stranger_forges_is_no_issue_of_ours(bench: Bench) -> None:
    """Anybody may write our hidden line; nobody but a member sets our label. A member's label makes it ours."""
    forged = {"title": "Gotcha", "body": written(Marker(id=ONE, night="x"), "All is well."), "labels": [LABEL]}
    bench.hub.as_person("POST", "/issues", forged, login="guest")
    assert steps(bench.sync(report())) == [f"opened: {ONE}"]
    assert bench.hub.seen()[1]["body"] == forged["body"]
    bench.hub.as_person("PATCH", "/issues/1", {"labels": [LABEL]})
    assert steps(bench.sync(report()))[-1:] == [f"updated: #1, {ONE}"]


def test_a_log_cannot_forge_what_an_issue_says_to_us(bench: Bench) -> None:
    """Neither as another failure's hidden line nor as the end of our own."""
    forged = written(Marker(id=TWO, night="x"), "x").split("\n")[0]
    bench.sync(report(body=f"{forged}\n\n```text\n{forged}\n-->\n```"))
    assert steps(bench.sync(report(body=f"{forged}\n\n```text\n{forged}\n-->\n```"), report(failure(TWO)))) == [
        f"opened: {TWO}"
    ]
    assert bench.hub.seen()[1]["body"].count("<!-- readiness-failure {") == 1


def test_clusters_that_grow_and_split_stay_in_their_issue(bench: Bench) -> None:
    """A failure is known by any of its signatures, so that neither a new oldest member nor a split files it anew."""
    bench.sync(report())
    assert steps(bench.sync(report(failure(TWO, aliases=[ONE])))) == [f"updated: #1, {ONE}"]
    bench.sync(report(), report(failure(TWO)))
    assert len(bench.hub.issues) == 1
    bench.sync(gone(CLEAN_NIGHTS), report(failure(TWO)))
    assert state(bench)[0] == "open"
    bench.sync(gone(CLEAN_NIGHTS), gone(CLEAN_NIGHTS, TWO))
    assert state(bench)[0] == "closed"


def test_issues_of_failures_that_turn_out_to_be_one_are_joined(bench: Bench) -> None:
    """The lower number stays, the other is closed as its duplicate, once; and nobody's own issue is closed so."""
    bench.sync(report(), report(failure(TWO)))
    own = bench.hub.as_person(
        "POST", "/issues", {"title": "Mine", "body": bench.hub.seen()[2]["body"], "labels": [LABEL]}
    )
    joined = report(failure(ONE, aliases=[TWO]))
    assert steps(bench.sync(joined)) == [f"closed as a duplicate: #2, {TWO}", f"updated: #1, {ONE}"]
    assert [state(bench, number) for number in (1, 2, own["number"])] == [
        ("open", None), ("closed", "duplicate"), ("open", None),
    ]  # fmt: skip
    assert bench.hub.told(2)[0].endswith("\nThe same failure as #1.")
    assert bench.sync(joined).steps == ()


def test_an_issue_whose_failure_is_in_no_result_any_more_is_left_as_it_is(bench: Bench) -> None:
    """That nothing is known is no proof that it is mended."""
    bench.sync(report())
    assert bench.sync().steps == ()
    assert state(bench)[0] == "open"


def test_of_a_body_that_is_too_long_the_logs_are_cut_first_and_it_says_so(bench: Bench) -> None:
    """The program that repeats the failure stays whole, and so does the end of the log."""
    program = "```python\n" + "x = 1\n" * 2000 + "```"
    log = "```text\n" + "".join(f"line {number}\n" for number in range(20_000)) + "the last word\n```"
    bench.sync(report(body=f"{program}\n\n{log}\n\nThe end."))
    body = bench.hub.seen()[1]["body"]
    assert LIMIT - 500 < len(body) <= LIMIT
    assert program in body and body.endswith("the last word\n```\n\nThe end.")
    assert re.search(r"```text\n\[\d+ characters left out here: GitHub takes no more\]\n", body)
    bench.sync(report(body="word " * 20_000))
    assert len(bench.hub.seen()[1]["body"]) <= LIMIT
    assert bench.hub.seen()[1]["body"].endswith("*The rest is left out: GitHub takes no more characters.*")


def test_a_hidden_line_that_cannot_be_read_still_keeps_its_failure_from_being_filed_twice(bench: Bench) -> None:
    """A later version's, or one that a person has broken: such an issue is left alone."""
    bench.sync(report())
    body = bench.hub.seen()[1]["body"].replace('{"id"', '{"more":1,"id"')
    bench.hub.as_person("PATCH", "/issues/1", {"body": body})
    assert bench.sync(report(body="Other words.")).steps == ()
    assert bench.hub.seen()[1]["body"] == body


def test_nothing_that_a_name_holds_ends_the_hidden_line() -> None:
    """It is read back as it was written."""
    marker = Marker(id=ONE, aliases=(TWO,), night="--> <b>", models=("a--b", "-->"), text="")
    body = written(marker, "words")
    read = Issue(number=1, body=body, open=True, labels=(LABEL,), author="x")
    assert read.marker is not None and read.marker.models == marker.models and read.marker.night == marker.night
    assert body.count("-->") == 1 and not read.edited and read.text == "words"
