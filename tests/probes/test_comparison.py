"""Speeds compared: with a control in the same engine, and with the best engine of the same run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cells import Control, Shape
from matrix.results import Measurement, Result, Status, Verdict, read_result, write_measurement, write_result
from probes import comparison, loads, throughput
from probes.comparison import Paced, Ratio, interval, judged, ratios
from probes.loads import Asked
from probes.rejudge import rejudge
from probes.streamed import Streamed
from probes.throughput import Throughput
from tests.reports.samples import cell, result

By = Mapping[str, Sequence[float]]
CONTROL = Control(
    engine="alpha", device_kind="cpu", model="known", release="alpha-1.0", measured=dt.date(2026, 1, 1), ratio=1.0
)
DEVICE = cell().device
ALONE = Verdict(status=Status.PASS, reason="D1: 30 output tokens/s", numbers={"D1_mbu": 0.3})


def of(engine: str, model: str, speed: By, eta: By | None = None, *, step_bytes: float | None = 100.0) -> Paced:
    place = cell(engine)
    place = msgspec.structs.replace(
        place, model=msgspec.structs.replace(place.model, id=model), controls=(CONTROL,) if engine == "alpha" else ()
    )
    found: Result = msgspec.structs.replace(result("throughput"), cell=place, cell_id=place.id, verdict=ALONE)
    return Paced(run=Path("run"), result=found, speed=speed, eta=eta or {}, step_bytes=step_bytes)


def d1(value: float) -> By:
    return {"D1": [value] * 5}


def told(found: Sequence[Ratio]) -> list[tuple[str, str, str, float]]:
    return [(one.shape, one.of, one.against, round(one.value, 6)) for one in found]


def test_a_new_model_is_held_against_the_control_in_its_engine() -> None:
    """By the share of the bound, so that a larger model is not slower for being larger."""
    new, known = of("alpha", "new", d1(10.0), d1(0.2)), of("alpha", "known", d1(40.0), d1(0.5))
    assert told(ratios(new, [new, known])) == [("D1", "arch", "known", 0.4)]
    assert ratios(known, [new, known]) == []


def test_an_engine_is_held_against_the_best_with_the_same_model() -> None:
    """By its speed, whatever the share of the bound; the best is compared with the second best."""
    slow, fast, middle = (of(name, "new", d1(speed)) for name, speed in (("a", 10.0), ("b", 40.0), ("c", 20.0)))
    everyone = [slow, fast, middle]
    assert told(ratios(slow, everyone)) == [("D1", "peer", "b-1.0", 0.25)]
    assert told(ratios(fast, everyone)) == [("D1", "peer", "c-1.0", 2.0)]


def test_every_shape_is_compared_where_both_have_it() -> None:
    """A shape that the other was not asked, or whose bound is not known, is left out."""
    both: By = {"D1": [10.0] * 5, "P": [100.0] * 5}
    new, known = of("alpha", "new", both, d1(0.2)), of("alpha", "known", both, {"D1": [0.4] * 5, "P": [0.4] * 5})
    peer = of("beta", "new", {"P": [400.0] * 5})
    assert told(ratios(new, [new, known, peer])) == [
        ("D1", "arch", "known", 0.5), ("P", "peer", "beta-1.0", 0.25),
    ]  # fmt: skip


@pytest.mark.parametrize("step_bytes", [10.0, 1000.0, None])
def test_a_control_of_another_size_is_none(step_bytes: float | None) -> None:
    """More than four times more or fewer bytes, or a model whose bytes are not known."""
    new, known = (
        of("alpha", "new", d1(10.0), d1(0.2)),
        of("alpha", "known", d1(40.0), d1(0.5), step_bytes=step_bytes),
    )
    assert ratios(new, [new, known]) == []


def ratio(value: float, spread: float = 0.0) -> Ratio:
    return Ratio(shape="D1", of="peer", against="b-1.0", value=value, low=value - spread, high=value + spread)


@pytest.mark.parametrize(
    ("value", "spread", "status", "word"),
    [
        (0.4, 0.05, Status.FAIL, "SLOW"),
        (0.4, 0.2, Status.DEGRADED, "DEGRADED"),
        (0.7, 0.05, Status.DEGRADED, "DEGRADED"),
        (0.7, 0.2, Status.PASS, "OK"),
        (1.2, 0.0, Status.PASS, "OK"),
    ],
)
def test_the_whole_interval_must_lie_below(value: float, spread: float, status: Status, word: str) -> None:
    """Half is substantially slower, four fifths degraded."""
    verdict = judged(ALONE, [ratio(value, spread)], DEVICE)
    assert verdict.status is status
    low, high = value - spread, value + spread
    assert verdict.reason == (
        f"{word}: D1: {value:.2f} ({low:.2f} to {high:.2f}) x the speed of b-1.0; D1: 30 output tokens/s"
    )
    assert verdict.numbers == {"D1_mbu": 0.3, "D1_rho_peer": value}


def test_the_worst_shape_decides_and_is_named_alone() -> None:
    """One slow shape among good ones."""
    verdict = judged(ALONE, [ratio(1.1), msgspec.structs.replace(ratio(0.3), shape="P"), ratio(0.7)], DEVICE)
    assert verdict.status is Status.FAIL
    assert verdict.reason.startswith("SLOW: P: 0.30 (0.30 to 0.30) x the speed of b-1.0; D1: 30")


def test_without_anything_to_compare_with_a_cell_stays_judged_alone() -> None:
    """One engine, one model."""
    assert judged(ALONE, [], DEVICE) is ALONE


def test_on_a_device_that_is_any_machine_nobody_is_blamed() -> None:
    """The lowest ratio is told, and all are among the numbers."""
    anywhere = msgspec.structs.replace(DEVICE, speed_judged=False)
    verdict = judged(ALONE, [ratio(0.7), msgspec.structs.replace(ratio(0.3), shape="P")], anywhere)
    assert verdict.status is Status.PASS
    assert verdict.reason == (
        "D1: 30 output tokens/s; compared, though not judged on cpu, at the least "
        "P: 0.30 (0.30 to 0.30) x the speed of b-1.0"
    )
    assert verdict.numbers == {"D1_mbu": 0.3, "D1_rho_peer": 0.7, "P_rho_peer": 0.3}


def test_comparing_twice_is_comparing_once() -> None:
    """The verdict from before is what is compared again."""
    once = judged(ALONE, [ratio(0.3)], DEVICE)
    assert judged(comparison.alone(once), [ratio(0.3)], DEVICE) == once


positive = st.floats(0.1, 1000.0)


@given(st.lists(positive, min_size=2, max_size=6), st.lists(positive, min_size=2, max_size=6))
def test_an_interval_holds_its_ratio_and_turns_over_with_it(mine: list[float], theirs: list[float]) -> None:
    """Between the extremes of the repeats, and in order."""
    low, high = interval(mine, theirs)
    assert min(mine) / max(theirs) * 0.999 <= low <= high <= max(mine) / min(theirs) * 1.001


def test_equal_repeats_have_no_spread() -> None:
    """Nothing to resample."""
    assert interval([2.0] * 5, [4.0] * 5) == (0.5, 0.5)


# --- of files -------------------------------------------------------------------------------------------------

D1 = Shape(id="D1", prompt_tokens=8, output_tokens=8)


def put(run: Path, engine: str, tpot_s: float, **changes: str) -> Path:
    """Measure an engine at this pace, judge it as a run does, and store both."""
    place = cell(engine)
    workload = msgspec.structs.replace(place.device.workload, shapes=(D1,))
    place = msgspec.structs.replace(
        place,
        device=msgspec.structs.replace(place.device, workload=workload),
        release=msgspec.structs.replace(place.release, **changes),
    )
    answer = Streamed(
        sent_s=0.0, at_s=tuple(0.5 + tpot_s * i for i in range(8)), tokens=(1,) * 8, counted=True,
        prompt_tokens=8, usage_tokens=8, id_tokens=8,
    )  # fmt: skip
    asked = [Asked(shape="D1", repeat=repeat, turn=0, answer=answer) for repeat in range(5)]
    values = Throughput(shapes=(D1,), warm_up_s=1.0, workers=1, clock_s=9.0, wall_s=9.0)
    measured = Measurement(values=msgspec.to_builtins(values), tables=loads.to_tables(asked, (D1,)))
    path = write_measurement(run, place.id, "throughput", measured)
    made = msgspec.structs.replace(result("throughput", of=place, run_id=run.name), measurement=path.name)
    verdict = throughput.PROBE.judge(measured, place)
    return write_result(run, msgspec.structs.replace(made, verdict=verdict, probe_version=throughput.PROBE.version))


def test_verdicts_of_a_run_are_rewritten_once_and_can_be_judged_again(tmp_path: Path) -> None:
    """A third of the other's speed is SLOW, with what it was alone in its evidence; a second time changes nothing."""
    slow, fast = put(tmp_path, "alpha", 0.3), put(tmp_path, "beta", 0.1)
    before = read_result(slow).verdict
    comparison.compare([tmp_path])
    after, other = read_result(slow).verdict, read_result(fast).verdict
    assert after.status is Status.FAIL
    assert after.reason == f"SLOW: D1: 0.33 (0.33 to 0.33) x the speed of beta-1.0; {before.reason}"
    assert after.evidence == {"judged alone": f"PASS: {before.reason}"}
    assert other.status is Status.PASS
    assert other.reason.startswith("OK: D1: 3.00 (3.00 to 3.00) x the speed of alpha-1.0; ")
    comparison.compare([tmp_path])
    assert read_result(slow).verdict == after
    again = rejudge(tmp_path, read_result(slow), {"throughput": throughput.PROBE})
    assert again is not None
    assert again.same


def test_a_build_on_stand_ins_is_neither_judged_nor_a_measure(tmp_path: Path) -> None:
    """Its speed is not its engine's."""
    patched = put(tmp_path, "alpha", 0.3, build="patched")
    fast = put(tmp_path, "beta", 0.1)
    assert comparison.compare([tmp_path]) == [read_result(fast)]
    assert read_result(patched).verdict.status is Status.PASS
    assert read_result(fast).verdict.evidence == {}


def test_engines_on_other_machines_are_not_compared(tmp_path: Path) -> None:
    """Jobs of one night may run on different processors."""
    slow, fast = put(tmp_path / "a", "alpha", 0.3), put(tmp_path / "b", "beta", 0.1)
    there = read_result(slow)
    elsewhere = msgspec.structs.replace(there.provenance, machine="another processor")
    write_result(tmp_path / "a", msgspec.structs.replace(there, provenance=elsewhere))
    comparison.compare([tmp_path / "a", tmp_path / "b"])
    assert [read_result(path).verdict.status for path in (slow, fast)] == [Status.PASS, Status.PASS]
    assert read_result(fast).verdict.evidence == {}
