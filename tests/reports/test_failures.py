"""Which failures are confirmed, which stand, which are gone and by which release, and what passes beside them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from matrix.cells import Cell
from matrix.results import Result, Status, write_result
from reports import store
from reports.bugs import clusters, signature
from reports.bugs import failures as failing
from reports.bugs.failures import Failure
from tests.reports import nights as simulated
from tests.reports.samples import cell, result

BAD, GOOD, ERROR, DOUBT = Status.FAIL, Status.PASS, Status.ERROR, Status.REF_SUSPECT
FIRST = dt.datetime(2026, 1, 1, 22, tzinfo=dt.UTC)


def failures(folder: Path, *results: Result) -> list[Failure]:
    for number, one in enumerate(results):
        provenance = replace(one.provenance, run_id=f"run-{number}")
        write_result(folder / f"run-{number}", replace(one, provenance=provenance))
    with store.opened(folder) as found:
        return failing.failures(found)


def on(night: int, status: Status, *, of: Cell | None = None, version: str = "1.0", **more: object) -> Result:
    """A judgement of correctness on a night, of a cell on a release."""
    of = of or cell()
    of = replace(of, release=replace(of.release, version=version))
    numbers = {"prefill_ratio": 9.0 if status.blames_engine else 1.0}
    made = result("correctness", status, of=of, numbers=numbers, **more)  # type: ignore[arg-type]  # as `result` takes them
    started = FIRST + dt.timedelta(days=night)
    return replace(made, provenance=replace(made.provenance, started_at=started), measurement="measured")


def of_model(model: str, architecture: str = "Small", config: str = "default", engine: str = "alpha") -> Cell:
    made = cell(engine=engine, config=config)
    return replace(made, model=replace(made.model, id=model, architecture=architecture))


@pytest.mark.parametrize(
    ("history", "state"),
    [
        ([BAD], "standing"),
        ([BAD, BAD], "confirmed"),
        ([BAD, ERROR, BAD], "confirmed"),
        ([BAD, Status.UNDECIDED, BAD], "confirmed"),
        ([BAD, BAD, DOUBT], "gone"),
        ([BAD, DOUBT, BAD], "standing"),
        ([BAD, DOUBT], "forgotten"),
        ([BAD, GOOD, BAD], "standing"),
        ([BAD, GOOD], "forgotten"),
        ([BAD, BAD, GOOD], "gone"),
        ([BAD, BAD, GOOD, BAD], "standing"),
        ([BAD, BAD, ERROR], "confirmed"),
        ([BAD, BAD, Status.NOTRUN], "confirmed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(s.value for s in value),
)
def test_a_failure_is_confirmed_by_the_two_newest_settled_runs(
    tmp_path: Path, history: list[Status], state: str
) -> None:
    """One bad night is not enough, our own errors in between do not count, what was never confirmed is forgotten."""
    found = failures(tmp_path, *(on(night, status) for night, status in enumerate(history)))
    states = [
        "confirmed" if one.standing and one.confirmed else "standing" if one.standing else "gone" for one in found
    ]
    assert states == ([] if state == "forgotten" else [state])
    assert all(one.confirmed for one in found if not one.standing)


def test_a_failure_that_a_rule_expects_is_no_news(tmp_path: Path) -> None:
    """Known and explained: nothing to draft."""
    assert failures(tmp_path, *(on(night, BAD, expected=BAD) for night in (0, 1))) == []


def test_a_rule_that_comes_later_ends_a_failure_and_has_not_mended_it(tmp_path: Path) -> None:
    """It fails as before, and everybody knows; once it passes, it is mended."""
    history = [on(0, BAD), on(1, BAD), on(2, BAD, expected=BAD)]
    (known,) = failures(tmp_path / "a", *history)
    assert (known.standing, known.clean_nights, known.mended_by) == (False, 0, None)
    (mended,) = failures(tmp_path / "b", *history, on(3, GOOD, version="1.1", expected=BAD))
    assert (mended.standing, mended.clean_nights, mended.mended_by) == (False, 1, "alpha-1.1")


def test_clean_nights_are_counted_where_something_passed(tmp_path: Path) -> None:
    """Undecided nights neither count nor break the row, two runs of a night count once."""
    history = [on(0, BAD), on(1, BAD), on(2, GOOD, version="1.1"), on(3, ERROR), on(4, GOOD, version="1.1")]
    (gone,) = failures(tmp_path, *history, on(4, GOOD, version="1.1"), on(6, Status.UNDECIDED))
    assert (gone.standing, gone.clean_nights, gone.mended_by) == (False, 2, "alpha-1.1")
    assert [one.provenance.started_at for one in gone.latest] == [FIRST + dt.timedelta(days=1)]


def test_nights_have_names_and_runs_by_hand_have_days(tmp_path: Path) -> None:
    """A nightly run that goes on past midnight is one night."""
    good = on(2, GOOD)
    named = [replace(good, provenance=replace(good.provenance, night="n", started_at=FIRST + dt.timedelta(days=day)))
             for day in (2, 3)]  # fmt: skip
    (gone,) = failures(tmp_path, on(0, BAD), on(1, BAD), *named, on(4, GOOD))
    assert gone.clean_nights == 2


def test_a_pass_in_the_night_in_which_it_showed_is_not_clean(tmp_path: Path) -> None:
    """A second run that passes says that it flakes."""
    again = on(1, GOOD)
    again = replace(again, provenance=replace(again.provenance, started_at=FIRST + dt.timedelta(days=1, minutes=5)))
    (gone,) = failures(tmp_path, on(0, BAD), on(1, BAD), again)
    assert (gone.standing, gone.clean_nights, gone.mended_by) == (False, 0, None)


def test_a_place_that_was_not_decided_since_it_showed_keeps_the_failure_standing(tmp_path: Path) -> None:
    """However often another place passes."""
    small, large = of_model("small"), of_model("large")
    shown = [on(night, BAD, of=of) for night in (0, 1) for of in (small, large)]
    later = [on(night, GOOD, of=small, version="1.1") for night in range(2, 9)]
    (failure,) = failures(tmp_path / "a", *shown, *later, on(3, ERROR, of=large, version="1.1"))
    assert (failure.standing, failure.confirmed, failure.clean_nights, failure.mended_by) == (True, True, 0, None)
    assert [one.cell.model.id for one in failure.latest] == ["large"]
    (failure,) = failures(tmp_path / "b", *shown, *later, on(9, GOOD, of=large, version="1.2"))
    assert (failure.standing, failure.clean_nights, failure.mended_by) == (False, 8, "alpha-1.1")


def test_another_failure_in_its_place_has_not_mended_it(tmp_path: Path) -> None:
    """What is a thousand times larger hides what was there; that it passed in between does count."""
    worse = on(2, BAD)
    worse = replace(worse, verdict=replace(worse.verdict, numbers={"prefill_ratio": 9000.0}))
    hidden, new = failures(tmp_path / "a", on(0, BAD), on(1, BAD), worse)
    if hidden.standing:
        hidden, new = new, hidden
    assert (hidden.standing, hidden.clean_nights, hidden.mended_by) == (False, 0, None)
    assert (new.standing, new.confirmed) == (True, False)
    later = replace(worse, provenance=replace(worse.provenance, started_at=FIRST + dt.timedelta(days=3)))
    found = failures(tmp_path / "b", on(0, BAD), on(1, BAD), on(2, GOOD), later)
    assert sorted(one.clean_nights for one in found) == [0, 1]


def test_an_older_release_that_is_asked_again_changes_nothing(tmp_path: Path) -> None:
    """Mended is what the newest release passes; by its day of release, else by when it was first measured."""
    history = [on(0, BAD), on(1, BAD), on(2, GOOD, version="1.1"), on(3, BAD), on(3, GOOD, version="1.1")]
    (gone,) = failures(tmp_path / "a", *history)
    assert (gone.standing, gone.clean_nights, gone.mended_by) == (False, 2, "alpha-1.1")
    made = cell()
    days = {"1.0": dt.date(2025, 12, 1), "0.9": dt.date(2025, 11, 1)}
    dated = {version: replace(made, release=replace(made.release, released=day)) for version, day in days.items()}
    backwards = [on(0, BAD, of=dated["1.0"]), on(1, BAD, of=dated["1.0"]), on(2, GOOD, of=dated["0.9"], version="0.9")]
    (still,) = failures(tmp_path / "b", *backwards)
    assert (still.standing, still.confirmed) == (True, True)


def test_it_says_what_it_touches_and_what_passes_beside_it(tmp_path: Path) -> None:
    """All else being the same, beside every cell that fails; of the newest releases alone."""
    failed = [on(night, BAD, of=of_model(name)) for night in (0, 1) for name in ("small", "large")]
    beside = [
        on(1, GOOD, of=of_model(name, engine=engine))
        for name, engine in (("small", "beta"), ("large", "beta"), ("small", "gamma"))
    ]
    beside += [on(0, BAD, of=of_model("small", engine="delta")), on(0, GOOD, of=of_model("small", engine="delta"))]
    beside += [on(1, GOOD, of=of_model(name, config="exact")) for name in ("small", "large")]
    beside += [on(1, GOOD, of=of_model("other", "Other")), on(1, GOOD, of=of_model("oak", "Oak", "exact"))]
    (failure,) = [one for one in failures(tmp_path, *failed, *beside) if one.engine == "alpha"]
    assert failure.touched == failing.Touched(
        models=("large", "small"), architectures=("Small",), releases=("alpha-1.0",), devices=("cpu",),
        configs=("default",),
    )  # fmt: skip
    assert failure.neighbours == (
        "passes on beta-1.0",
        "with config exact it passes",
        "the engine passes this probe on 1 other architecture here",
    )


# --- sixty nights -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sixty() -> list[simulated.Night]:
    return simulated.nights()


def causes(nights: Sequence[simulated.Night]) -> dict[tuple[str, str, str], str]:
    return {
        (one.provenance.run_id, one.cell_id, one.probe): night.causes[one.cell_id, one.probe]
        for night in nights
        for one in night.results
        if (one.cell_id, one.probe) in night.causes
    }


def cause_of(one: Result, known: dict[tuple[str, str, str], str]) -> str | None:
    return known.get((one.provenance.run_id, one.cell_id, one.probe))


def test_the_simulated_nights_are_what_they_promise(sixty: list[simulated.Night]) -> None:
    """Twelve causes, over 200 failing results, every status, and nothing of an infrastructure's error among them."""
    assert (len(sixty), sixty[0].day, sixty[-1].day) == (60, dt.date(2026, 2, 1), dt.date(2026, 4, 1))
    shown = causes(sixty)
    assert len(shown) > 200
    assert set(shown.values()) == simulated.expected.filed
    assert len(simulated.expected.filed) == 12
    results = [one for night in sixty for one in night.results]
    assert {one.verdict.status for one in results} == set(Status) - {Status.SKIP}
    assert all(one.verdict.status.blames_engine for one in results if cause_of(one, shown) is not None)
    assert [night.results for night in simulated.nights()] == [night.results for night in sixty]


def test_sixty_nights_have_twelve_confirmed_failures_each_of_one_cause(
    tmp_path: Path, sixty: list[simulated.Night]
) -> None:
    """What infrastructure, doubt, rules and single nights leave is not confirmed; what is gone, a release mended."""
    for night in sixty:
        for one in night.results:
            write_result(tmp_path / one.provenance.run_id, one)
    with store.opened(tmp_path) as opened:
        found = failing.failures(opened)
    known = causes(sixty)
    confirmed = {cause_of(one.first_seen, known): one for one in found if one.confirmed}
    assert set(confirmed) == simulated.expected.filed
    assert len([one for one in found if one.confirmed]) == 12
    waiting = [one for one in found if not one.confirmed]
    assert [one.words for one in waiting] == ["ValueError: the newest night has this alone"]
    gone = {name: one.mended_by for name, one in confirmed.items() if name is not None and not one.standing}
    assert gone == simulated.expected.closed
    assert all(one.clean_nights > 14 for one in confirmed.values() if not one.standing)
    for name, models in simulated.expected.spread.items():
        assert confirmed[name].touched.models == models


def test_ids_do_not_change_from_night_to_night(sixty: list[simulated.Night]) -> None:
    """Of whatever number of first nights: a failure has one id for good."""
    seen = [one for night in sixty for one in night.results if one.verdict.status.blames_engine]
    signatures = [signature.of(one) for one in seen]
    every = clusters.leaders(signatures)
    for count in range(0, len(signatures), 97):
        before = clusters.leaders(signatures[:count])
        assert all(every[name].id == leader.id for name, leader in before.items())
