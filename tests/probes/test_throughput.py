"""Throughput: when there is a speed, when there is none, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.cells import Cell, Shape
from matrix.results import Measurement, Status, Verdict
from probes import loads, throughput
from probes.loads import COLD, Asked
from probes.pace import DeviceSpeed, Needs
from probes.streamed import Streamed
from probes.throughput import Throughput
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, WORKLOAD, bench, launched

D1 = Shape(id="D1", prompt_tokens=100, output_tokens=16)
M = Shape(id="M", turns=2, prompt_tokens=100, output_tokens=16)
ANSWER = Streamed(
    sent_s=10.0,
    at_s=tuple(0.5 + 0.1 * i for i in range(16)),
    tokens=(1,) * 16,
    counted=True,
    prompt_tokens=100,
    usage_tokens=16,
    id_tokens=16,
)
STEADY = msgspec.structs.replace(CELL, device=msgspec.structs.replace(CELL.device, canary_tolerance=0.03))
DEVICE = DeviceSpeed(bandwidth_bytes_per_s=1e10, flops_per_s=1e12, dtype="float32", by="torch")
VALUES = Throughput(shapes=(D1,), warm_up_s=1.0, workers=1, clock_s=100.0, wall_s=100.0)


NO_CONFIG = "what the model needs is not known (config.json: No such file or directory)"
JUMPED = "the machine's wall clock moved by {} s against its steady one while speed was measured"
NOTHING: dict[str, Any] = {"at_s": (), "tokens": ()}


def asked(shape: Shape = D1, repeat: int = 0, turn: int = 0, **changes: Any) -> Asked:
    answer = msgspec.structs.replace(ANSWER, **changes)
    return Asked(shape=shape.id, repeat=repeat, turn=turn, answer=answer)


def judged(*answers: Asked, of: Cell = STEADY, **changes: Any) -> Verdict:
    values = msgspec.structs.replace(VALUES, **changes)
    tables = loads.to_tables(answers, values.shapes)
    return throughput.judge(Measurement(values=msgspec.to_builtins(values), tables=tables), of)


def test_a_right_count_passes_with_its_numbers() -> None:
    """16 tokens in 2 s, the first after 0.5 s: speeds by their definitions, and one clause for the shape."""
    verdict = judged(asked())
    assert verdict.status is Status.PASS
    assert verdict.reason == "D1: 8 ± 0 output tokens/s, TTFT 500 ± 0 ms, TPOT 100 ± 0 ms"
    assert verdict.numbers["D1_total_tokens_per_s"] == pytest.approx(116 / 2)
    assert verdict.numbers["D1_itl_event_p99_s"] == pytest.approx(0.1)


def test_repeats_give_median_and_deviation() -> None:
    """Of several repeats the median counts, with the median absolute deviation beside it."""
    verdict = judged(*(asked(repeat=i, at_s=(0.5, end), tokens=(1, 15)) for i, end in enumerate((1.0, 2.0, 16.0))))
    assert verdict.numbers["D1_output_tokens_per_s"] == pytest.approx(8)
    assert verdict.numbers["D1_output_tokens_per_s_mad"] == pytest.approx(7)


def test_what_is_reached_of_the_device_is_told() -> None:
    """10 MB of a step of 0.1 s at 10 GB/s are 1 %; where operations are the bound, 100 G of 0.5 s at 1 T/s 20 %."""
    needs = {"D1": Needs(step_bytes=1e7, prefill_flops=1e11)}
    verdict = judged(asked(), needs=needs, before=DEVICE, after=DEVICE)
    assert verdict.numbers["D1_mbu"] == pytest.approx(0.01)
    assert "D1_mfu" not in verdict.numbers
    assert verdict.reason.endswith("TPOT 100 ± 0 ms, MBU 1%; the device does 10 GB/s and 1 TFLOP/s in float32")
    long = msgspec.structs.replace(D1, bound="flops")
    verdict = judged(asked(), needs=needs, before=DEVICE, after=DEVICE, shapes=(long,))
    assert verdict.numbers["D1_mfu"] == pytest.approx(0.2)


def test_a_priced_device_tells_what_a_million_tokens_cost() -> None:
    """8 tokens/s for 2.88 dollars an hour are 100 dollars a million; the data sheet stands beside the measurement."""
    priced = msgspec.structs.replace(
        STEADY.device, price_per_hour=2.88, datasheet_bytes_per_s=2e10, datasheet_flops_per_s=4e12
    )
    verdict = judged(asked(), before=DEVICE, after=DEVICE, of=msgspec.structs.replace(STEADY, device=priced))
    assert verdict.numbers["D1_usd_per_million_output_tokens"] == pytest.approx(100)
    assert verdict.reason.endswith(
        "TPOT 100 ± 0 ms, $100 per million output tokens; "
        "the device does 10 GB/s (datasheet: 20) and 1 TFLOP/s in float32 (datasheet: 4)"
    )


def test_a_device_is_known_by_its_name_and_driver_and_watched_in_what_moves() -> None:
    """What stays the same may explain a step between nights, clocks and temperature a bad one."""
    state = {"name": "GPU X", "driver_version": "1.2", "temperature.gpu": "40"}
    before = msgspec.structs.replace(DEVICE, state=state)
    after = msgspec.structs.replace(DEVICE, state={**state, "temperature.gpu": "80"})
    assert judged(asked(), before=before, after=after).evidence == {
        "device": "GPU X, 1.2, measured with torch",
        "clocks": "temperature.gpu: 40, then 80",
    }


def test_stand_ins_of_ours_are_told() -> None:
    """Whoever reads the number must not take it for the engine's."""
    patched = msgspec.structs.replace(STEADY, release=msgspec.structs.replace(STEADY.release, build="patched"))
    assert judged(asked(), of=patched).reason.endswith("; not compared, for it runs on stand-ins of ours")


def test_what_is_not_known_is_told() -> None:
    """A device or a model that nothing is known of leaves the speed, and says why there is no share of the bound."""
    verdict = judged(asked(), needs_unknown="what the model needs is not known (why)", device_unknown="no device (why)")
    assert verdict.status is Status.PASS
    assert verdict.reason.endswith("; no device (why); what the model needs is not known (why)")


def test_a_conversation_tells_cold_from_warm() -> None:
    """The last turn, of which one half is cached, against a prompt as long of which nothing is."""
    verdict = judged(
        asked(M, turn=0, at_s=(0.4,), tokens=(16,)),
        asked(M, turn=1, at_s=(0.5,), tokens=(16,)),
        asked(M, turn=COLD, at_s=(1.0,), tokens=(16,)),
        shapes=(M,),
    )
    assert verdict.reason == "M: TTFT 1000 ± 0 ms cold, 500 ± 0 ms warm (50% of cold)"
    assert verdict.numbers["M_warm_over_cold"] == pytest.approx(0.5)


def test_company_is_told() -> None:
    """A timing taken beside other workers says so."""
    assert judged(asked(), workers=2).reason.endswith("; measured beside 1 other worker(s)")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"usage_tokens": 32}, "usage counts 32 generated tokens, the stream carried 16 token ids"),
        ({"usage_tokens": 7, "id_tokens": 7}, "generated 7 tokens where exactly 16 were asked for"),
        ({"usage_tokens": 7, "id_tokens": None}, "generated 7 tokens where exactly 16 were asked for"),
        ({"usage_tokens": None, "id_tokens": 17}, "generated 17 tokens where exactly 16 were asked for"),
        ({"usage_tokens": 0, "id_tokens": 0, **NOTHING}, "generated 0 tokens where exactly 16 were asked for"),
    ],
)
def test_a_wrong_count_fails(changes: dict[str, Any], sentence: str) -> None:
    """Usage against ids, and either against what was asked."""
    verdict = judged(asked(**changes))
    assert verdict.status is Status.FAIL
    assert verdict.reason == sentence


def test_an_unknown_count_is_undecided() -> None:
    """A stream with neither ids nor usage gives no speed: events are no tokens."""
    verdict = judged(asked(usage_tokens=None, id_tokens=None, counted=False))
    assert verdict.status is Status.UNDECIDED
    assert verdict.numbers == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wall_s": 103.0}, JUMPED.format("+3.00")),
        ({"wall_s": 40.0}, JUMPED.format("-60.00")),
        (
            {"before": DEVICE, "after": msgspec.structs.replace(DEVICE, bandwidth_bytes_per_s=9e9)},
            "the device's own bandwidth moved by -10% while speed was measured, by more than a factor of 1.03",
        ),
    ],
)
def test_a_disturbed_night_is_no_news(changes: dict[str, Any], sentence: str) -> None:
    """A clock that jumps, or a device that was slower after than before: our ERROR, and no number."""
    verdict = judged(asked(), **changes)
    assert (verdict.status, verdict.reason, verdict.numbers) == (Status.ERROR, sentence, {})


def test_a_token_that_comes_all_at_once_divides_by_nothing() -> None:
    """One event with every token: no TPOT, no ITL, and that is said."""
    verdict = judged(asked(at_s=(0.5,), tokens=(16,)))
    assert verdict.reason == "D1: 32 ± 0 output tokens/s, TTFT 500 ± 0 ms, TPOT unknown"
    assert not any("tpot" in name or "itl" in name for name in verdict.numbers)


def test_every_shape_is_measured(tmp_path: Path) -> None:
    """So many repeats of each shape, each answer with the tokens that were asked for; warm-up left out."""
    with launched(fake_engine("healthy"), tmp_path) as server:
        found = throughput.measure(server, CELL, bench())
    values = msgspec.convert(found.values, Throughput)
    answers = loads.from_tables(found.tables, values.shapes)
    assert values.before is not None
    assert (values.before.by, values.needs_unknown) == ("numpy", NO_CONFIG)
    places = [(one.repeat, one.shape, one.turn) for one in answers]
    d1, d16, m = [("D1", 0)], [("D16", 0)] * 2, [("M", 0), ("M", 1), ("M", 2), ("M", COLD)]
    assert places == [(repeat, *place) for repeat in range(WORKLOAD.speed_repeats) for place in (*d1, *d16, *m)]
    wanted = {shape.id: shape.output_tokens for shape in WORKLOAD.shapes}
    assert all(one.answer.total == wanted[one.shape] for one in answers)
    assert [one.answer.prompt_tokens for one in answers[:7]] == [8, 8, 8, 8, 16, 24, 24]
    assert throughput.judge(found, CELL).status is Status.PASS
