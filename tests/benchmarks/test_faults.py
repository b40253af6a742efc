"""The list of public faults and the page that says which of them are caught."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from msgspec.structs import replace

from matrix.results import Status
from probes import state, tables
from probes.checkpoints import recipes
from tests.benchmarks.faults import __main__ as bench
from tests.benchmarks.faults import mechanisms, page
from tests.benchmarks.faults.mechanisms import MECHANISMS, Mutant, Shown
from tests.benchmarks.faults.page import Alarms, Healthy, Kept, Row

NOW = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
CHECKS = {"L0", "L1", "C1", "C2", "C3", "C4", "C5", "C7", "C8", "C9"}


def test_every_fault_has_a_mechanism_or_says_what_it_needs() -> None:
    """One of the two, and never both; none is listed twice."""
    rows = bench.rows()
    assert len({row.reference for row in rows}) == len(rows) == 75
    assert all((row.mechanism is None) != (row.needs is None) for row in rows)
    assert {row.mechanism for row in rows if row.mechanism is not None} <= MECHANISMS.keys()
    assert {check for row in rows for check in row.checks} == CHECKS


def test_mechanisms_name_recipes_and_probes_that_there_are() -> None:
    """And every null twin differs from its fault, but where the checkpoint makes the difference."""
    for mechanism in MECHANISMS.values():
        assert mechanism.probe in mechanisms.PROBES
        if isinstance(mechanism, Mutant):
            recipes.named(mechanism.recipe)
        else:
            assert mechanism.faulty != mechanism.right or mechanism.model == "incomplete"


@pytest.mark.parametrize(
    ("status", "twin", "caught"),
    [("FAIL", "PASS", True), ("CRASH", "PASS", True), ("UNDECIDED", "PASS", False), ("FAIL", "FAIL", False)],
)
def test_a_fault_is_caught_where_its_twin_passes(status: str, twin: str, caught: bool) -> None:
    """A probe that also accuses what is right has caught nothing."""
    assert Shown(probe="state", status=status, reason="", twin=twin, twin_reason="").caught is caught


def test_a_fake_engine_s_mechanism_and_its_twin_are_judged_by_the_probe_itself() -> None:
    """One of loading, through the launcher."""
    said: list[str] = []
    shown = mechanisms.show_all(tables.matrix(), ["a package is missing"], said.append)["a package is missing"]
    assert (shown.status, shown.twin, shown.caught) == ("CRASH", "PASS", True)
    assert said == ["a package is missing: CRASH, its twin PASS"]


def test_the_page_counts_what_is_caught_and_names_what_is_not() -> None:
    """Faults that need other hardware are counted apart, and misses give the probe's own words."""
    rows = [
        Row(reference="a/b#1", model="M", checks=("C4",), what="x", mechanism="a cached block of another prompt"),
        Row(reference="a/b#2", model="M", checks=("C5",), what="y", mechanism="an error when requests come together"),
        Row(reference="a/b#3", model="M", checks=("C5",), what="z", needs="GPU graphs"),
    ]
    shown = {
        "a cached block of another prompt": Shown(probe="state", status="FAIL", reason="", twin="PASS", twin_reason=""),
        "an error when requests come together": Shown(
            probe="batch", status="PASS", reason="all alike.", twin="PASS", twin_reason="all alike."
        ),
    }
    alarms = Alarms(
        probe="state", version=1, parts=tuple(range(20)), statuses={"PASS": 17, "UNDECIDED": 1, "FAIL": 2}, known="FAIL"
    )
    asked = Healthy(cell="c", engine="vllm-1", model="m", measured=NOW.date(), alarms=(alarms,))
    unable = Healthy(cell="d", engine="vllm-1", model="n", measured=NOW.date(), silent="CRASH: no such kernel.")
    text = page.document(rows, shown, [asked, unable], NOW, {"reference": "reference-1"}, {"c": (), "d": ()})
    assert "| faults that can be shown on a CPU, caught | at least 95% | 1 of 2, 50.0% | not met |" in text
    over = "every engine over at least 20 parts of the corpus"
    assert f"| 0 in 18 verdicts on 1 cells of 2; 1 did not start; {over} | met |" in text
    assert "- vllm-1 on n: CRASH: no such kernel." in text
    more = page.document(rows, shown, [asked], NOW, {}, {"c": (), "d": ("state", "batch")})
    assert f"| 0 in 18 verdicts on 1 cells of 2; {over} | not all asked |" in more
    assert "- d: state, batch" in more
    assert "Counted apart: 1 need GPU graphs." in text
    assert "- **an error when requests come together**: PASS, all alike. Its twin: PASS, all alike." in text
    assert "| vllm-1 | m | state | 2026-11-27 | 20 | 2 | 0 | 1 | 0 |" in text
    assert "Measured 2026-11-27, with reference reference-1." in text


def test_what_was_not_run_counts_and_is_not_caught() -> None:
    """The site says so many of so many: a mechanism that nobody showed makes neither figure smaller."""
    shown = Shown(probe="correctness", status="FAIL", reason="", twin="PASS", twin_reason="")
    rows = [
        Row(reference=f"o/n#{number}", model="m", checks=("C1",), what="w", mechanism=mechanism, needs=needs)
        for number, (mechanism, needs) in enumerate(
            [("soft cap ignored", None), ("two layers swapped", None), (None, "two GPUs")]
        )
    ]
    found = page.record(rows, {"soft cap ignored": shown}, (), dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    assert (found.caught, found.faults, found.elsewhere) == (1, 2, 1)
    assert found.probes["correctness"].mechanisms == ("soft cap ignored", "two layers swapped")


def test_what_was_found_is_kept_for_the_next_machine(tmp_path: Path) -> None:
    """A cell that is asked again takes its own place; what another version of a probe said does not stand."""
    (_, cell), *_ = bench.healthy_cells()
    said = Alarms(probe="state", version=state.PROBE.version, parts=(0, 7), statuses={"PASS": 2})
    asked = Healthy(cell=cell.id, engine=cell.release.id, model=cell.model.id, measured=NOW.date(), alarms=(said,))
    again = replace(asked, alarms=(replace(said, statuses={"FAIL": 2}),))
    bench.keep(tmp_path, Kept().with_healthy(asked).with_healthy(again))
    assert bench.standing(bench.kept(tmp_path)) == [again]
    outdated = replace(asked, alarms=(replace(said, version=said.version - 1),))
    assert bench.standing(Kept().with_healthy(outdated)) == []
    assert bench.standing(Kept().with_healthy(replace(asked, model="gone"))) == []


def test_a_cell_is_asked_what_it_did_not_answer() -> None:
    """Errors of ours are asked again, and no other answer is lost; nothing is asked of an engine that crashed."""

    def told(probe: str, status: Status) -> Alarms:
        return Alarms(probe=probe, version=1, parts=(0,), statuses={status.value: 1})

    def cell(*alarms: Alarms, silent: str | None = None) -> Healthy:
        return Healthy(cell="c", engine="e", model="m", measured=NOW.date(), alarms=alarms, silent=silent)

    assert bench.left_to_ask(None) == ("correctness", "state", "batch", "context")
    before = cell(told("correctness", Status.FAIL), told("state", Status.PASS), told("context", Status.ERROR))
    assert bench.left_to_ask(before) == ("batch", "context")
    assert bench.left_to_ask(before, ("state", "context")) == ("context",)
    assert bench.left_to_ask(cell(told("state", Status.CRASH))) == ()
    assert bench.left_to_ask(cell(silent="no such kernel")) == ()
    after = Kept().with_healthy(before).with_healthy(cell(told("context", Status.PASS)))
    assert after.healthy[0].alarms == (*before.alarms[:2], told("context", Status.PASS))
    assert after.with_healthy(cell(silent="no such kernel")).healthy[0].alarms == ()


def test_the_models_of_an_engine_share_the_corpus_out() -> None:
    """Seven of them: three parts each are 21 for the engine, and no two models have one in common."""
    models = sorted({cell.model.id for _, cell in bench.healthy_cells()})
    found = [bench.shared_out(models, model, bench.PARTS) for model in models]
    assert len(models) == 7
    assert found[0] == (0, 7, 14)
    assert sorted(part for parts in found for part in parts) == list(range(21))
