"""Sixty nights of three engines: twelve causes become twelve issues, whatever happens to the runs on the way."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest

from matrix.errors import Infrastructure
from matrix.results import write_result
from reports import compact, store
from reports.bugs import packet
from reports.bugs.failures import Failure, failures
from reports.bugs.issue import Issue, Marker
from reports.bugs.packet import Packet
from reports.bugs.tracker import Report
from reports.bugs.tracking import NEW_A_NIGHT, WAITING
from tests.github.bench import HASTY, Bench, dead_after
from tests.reports import nights as simulated

Night = tuple[str, list[Report]]
"""Its name, and what is reported then."""


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> list[Night]:
    """What is reported night by night, from results as they come in; older ones are compacted on the way."""
    folder = tmp_path_factory.mktemp("results")
    told = []
    for night in simulated.nights():
        for one in night.results:
            write_result(folder / one.provenance.run_id, one)
        with store.opened(folder) as found:
            told.append((f"{night.day}", [_report(one) for one in failures(found)]))
            if night.number % 5 == 4:
                now = dt.datetime.combine(night.day, dt.time(23), dt.UTC)
                compact.compact(found, before=night.day + dt.timedelta(days=1), remove=True, now=now)
    return told


def _report(failure: Failure) -> Report:
    fault = packet.of_failure(failure, "last words")
    body = Packet(fault=fault, program=None, reproduction=None, bisection=None, form=None).body
    return Report(failure=failure, title=fault.title, body=body)


def marker(body: str) -> Marker:
    found = Issue(number=1, body=body, open=True, labels=(), author="").marker
    assert found is not None
    return found


def held(bench: Bench, sixty: list[Night]) -> None:
    """What must hold after all nights, however they went."""
    last = {one.failure.id: one.failure for one in sixty[-1][1] if one.failure.confirmed}
    issues = {number: one for number, one in bench.hub.seen().items() if one["state_reason"] != "duplicate"}
    marked = {number: marker(one["body"]) for number, one in issues.items()}
    by_failure = {one.id: number for number, one in marked.items() if one.id != WAITING}
    assert len(by_failure) == 12 == len(simulated.expected.filed)
    assert len(issues) - len(by_failure) <= 1  # the list of what waits
    assert set(by_failure) == set(last)
    mended = {name: failure.mended_by for name, failure in last.items() if not failure.standing}
    assert sorted(map(str, mended.values())) == sorted(simulated.expected.closed.values())
    for name, number in by_failure.items():
        assert issues[number]["state"] == ("closed" if name in mended else "open")
        told = "\n".join(issues[number]["comments"])
        assert told.count("Not seen on 14 nights") == (name in mended) + told.count("It is back")
        assert mended.get(name) is None or f"first with `{mended[name]}`" in told
        assert len(told) < 10_000
    returned = [number for number, one in issues.items() if "It is back" in "\n".join(one["comments"])]
    assert len(returned) == len(simulated.expected.returned)
    limit = Counter((one.night, one.engine) for one in marked.values())
    assert max(limit.values()) <= NEW_A_NIGHT


def test_twelve_causes_become_twelve_issues(bench: Bench, sixty: list[Night]) -> None:
    """None for what infrastructure, doubt, rules and single nights leave; closed where a release has mended it.

    Nothing is closed too early, and what spreads is told in one comment for each night on which it did.
    """
    closed: dict[int, str] = {}
    for night, reports in sixty:
        before = {number: one["state"] for number, one in bench.hub.seen().items()}
        done = bench.sync(*reports, night=night)
        assert done.trouble == ()
        assert bench.sync(*reports, night=night).steps == ()
        standing = {name: one.failure.confirmed for one in reports if one.failure.standing for name in one.ids}
        for number, one in bench.hub.seen().items():
            name = marker(one["body"]).id
            if one["state"] == "closed" and before.get(number) == "open":
                closed[number] = night
                assert name not in standing
            assert one["state"] == "open" or not standing.get(name)
    held(bench, sixty)
    assert len(closed) == len(simulated.expected.closed) + len(simulated.expected.returned)
    comments = [told for number in bench.hub.issues for told in bench.hub.told(number) if "It shows on more" in told]
    new = {name for models in simulated.expected.spread.values() for name in models[1:]}
    assert {name for name in simulated.MODELS if any(f"`{name}`" in told for told in comments)} <= new
    words = "\n".join(f"{one['title']}\n{one['body']}" for one in bench.hub.seen().values())
    assert not [text for text in simulated.INFRASTRUCTURE if text[:40] in words]
    assert "the newest night has this alone" not in words


def test_every_night_is_killed_at_another_request_and_done_again(bench: Bench, sixty: list[Night]) -> None:
    """All ends as it ends without trouble."""
    for (night, reports), count in zip(sixty, cycle(range(0, 45, 2)), strict=False):
        with bench.befalling(dead_after(count, done=count % 4 == 0)), contextlib.suppress(Infrastructure):
            bench.sync(*reports, night=night, patience=HASTY)
        bench.sync(*reports, night=night)
    held(bench, sixty)


def test_every_other_night_is_killed_and_never_done_again(bench: Bench, sixty: list[Night]) -> None:
    """The next night does what is left."""
    for number, (night, reports) in enumerate(sixty):
        count = number if number % 2 == 0 and number < 58 else 10_000
        with bench.befalling(dead_after(count, done=count % 4 == 0)), contextlib.suppress(Infrastructure):
            bench.sync(*reports, night=night, patience=HASTY)
    held(bench, sixty)


def test_every_night_two_runs_are_there_at_once(bench: Bench, sixty: list[Night]) -> None:
    """What is double is gone by the end."""
    with ThreadPoolExecutor(2) as pool:
        for night, reports in sixty:
            both = [pool.submit(bench.sync, *reports, night=night) for _ in range(2)]
            assert [one.result().trouble for one in both] == [(), ()]
    bench.sync(*sixty[-1][1], night=sixty[-1][0])
    held(bench, sixty)
