"""One probe of one cell: more data where it is undecided, a fresh server where an engine is accused."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell, Control
from matrix.results import Measurement, Status, Verdict
from probes import correctness, strata
from probes.examine import examine
from probes.noise_floor import TokenLogprobs
from probes.session import Up
from runners.engine import Engine, Server
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, WORKLOAD, bench, launched, with_workload


class Starts:
    """Engines, one after the other: each start is the next one's, the last one's for ever."""

    def __init__(self, folder: Path, *engines: Engine, cell: Cell = CELL) -> None:
        self.folder, self.engines, self.cell = folder, engines, cell
        self.count = 0

    @contextmanager
    def __call__(self) -> Iterator[Server]:
        engine = self.engines[min(self.count, len(self.engines) - 1)]
        self.count += 1
        (self.folder / str(self.count)).mkdir()
        with launched(engine, self.folder / str(self.count), cell=self.cell) as server:
            yield server


def examined(starts: Starts) -> tuple[Verdict, list[Measurement]]:
    kept: list[Measurement] = []
    with Up(starts, bench(starts.cell.device.workload)) as up:
        return examine(correctness.PROBE, starts.cell, up, kept.append), kept


def test_a_clear_pass_takes_one_look_and_one_server(tmp_path: Path) -> None:
    """Nothing is measured twice that the first look decides."""
    starts = Starts(tmp_path, fake_engine("healthy"))
    verdict, kept = examined(starts)
    assert verdict.status is Status.PASS
    assert (len(kept), starts.count) == (1, 1)


def test_what_stays_undecided_is_asked_twice_more(tmp_path: Path) -> None:
    """A few tokens a look decide nothing: twice the data, twice again, and grey at last, from one server."""
    few = with_workload(corpus_sequences=2, corpus_length=12, decode_sequences=1, decode_tokens=8)
    starts = Starts(tmp_path, fake_engine("healthy"), cell=few)
    verdict, kept = examined(starts)
    assert verdict.status is Status.UNDECIDED
    assert starts.count == 1
    assert [len(found.tables["prefill"]["target_logprobs"]) for found in kept] == [2, 4, 8]
    assert [len(found.tables["decode"]["target_logprobs"]) for found in kept] == [1, 2, 4]
    assert len({tuple(ids) for ids in kept[-1].tables["corpus"]["token_ids"].tolist()}) == 8
    assert strata.judge(kept[-1], starts.cell) == verdict


def test_an_accusation_is_confirmed_by_a_fresh_server_on_other_sequences(tmp_path: Path) -> None:
    """Another model's logprobs fail twice, and the stored measurement explains the whole verdict."""
    starts = Starts(tmp_path, fake_engine("other-model"))
    verdict, kept = examined(starts)
    assert verdict.status is Status.FAIL
    assert starts.count == 2
    assert "; confirmed on other sequences in a fresh server: FAIL, prefill: " in verdict.reason
    first, second = (kept[-1].tables[name]["token_ids"].tolist() for name in ("corpus", "confirmation corpus"))
    assert len(first) == len(second) == WORKLOAD.corpus_sequences
    assert not {tuple(ids) for ids in first} & {tuple(ids) for ids in second}
    assert strata.judge(kept[-1], CELL) == verdict


def test_what_a_fresh_server_does_not_repeat_accuses_nobody(tmp_path: Path) -> None:
    """An engine that was wrong after one start only: grey, and both measurements are told."""
    starts = Starts(tmp_path, fake_engine("other-model"), fake_engine("healthy"))
    verdict, _ = examined(starts)
    assert verdict.status is Status.UNDECIDED
    assert verdict.reason.startswith("not confirmed: FAIL at first (prefill: ")
    assert ", on other sequences in a fresh server PASS (prefill: " in verdict.reason


def test_both_measurements_are_read_on_one_scale(tmp_path: Path) -> None:
    """The ladder is of the first look's sequences; beside other sequences its rungs would measure nonsense."""
    _, kept = examined(Starts(tmp_path, fake_engine("other-model")))
    corpus = kept[-1].tables["corpus"]
    rung = {f"ladder-int8/{field}": corpus[f"batched/{field}"][:8] for field in TokenLogprobs.__struct_fields__}
    tables = {**kept[-1].tables, "ladder": {"token_ids": corpus["token_ids"][:8], **rung}}
    found = strata.judge(msgspec.structs.replace(kept[-1], tables=tables), CELL)
    scales = re.findall(r"on the scale of this model: above int8 weights \((.+?) x\)", found.reason)
    assert scales == ["0.97"] * 4  # two strata, twice
    assert "below int8" not in found.reason


def test_a_control_that_moves_is_told_on_a_green_square(tmp_path: Path) -> None:
    """A healthy engine that was far nearer when it was accepted passes, with the news; one that was not, or was in
    another config, without."""
    _, kept = examined(Starts(tmp_path, fake_engine("healthy")))
    for ratio, config, told in ((0.1, CELL.config.id, True), (1.2, CELL.config.id, False), (0.1, "plain", False)):
        control = Control(
            engine="fake", device_kind="cpu", model=CELL.model.id, release="fake-0.0.1", config=config,
            measured=dt.date(2026, 11, 25), ratio=ratio,
        )  # fmt: skip
        found = strata.judge(kept[-1], msgspec.structs.replace(CELL, controls=(control,)))
        assert found.status is Status.PASS
        assert ("; this control moved up from 0.1 x, frozen with fake-0.0.1" in found.reason) is told


def test_a_number_that_is_none_needs_no_confirmation(tmp_path: Path) -> None:
    """NaN is no matter of chance: FAIL at once."""
    starts = Starts(tmp_path, fake_engine("nan"))
    verdict, _ = examined(starts)
    assert verdict.status is Status.FAIL
    assert "non-finite logprob at " in verdict.reason
    assert starts.count == 1


def test_a_server_of_somebody_else_is_not_said_to_be_fresh(tmp_path: Path) -> None:
    """It cannot be started anew, so the confirmation is one on other sequences alone."""
    starts = Starts(tmp_path, fake_engine("other-model"))
    _, kept = examined(starts)
    attached = msgspec.structs.replace(kept[-1], values={**kept[-1].values, "launched": False})
    assert "; confirmed on other sequences: FAIL, " in strata.judge(attached, CELL).reason


@pytest.mark.parametrize(("again", "status"), [(Status.FAIL, Status.DEGRADED), (Status.DEGRADED, Status.DEGRADED)])
def test_the_milder_accusation_stands(again: Status, status: Status) -> None:
    """Two measurements that both accuse agree on the lesser charge."""
    first = Verdict(status=Status.DEGRADED, reason="twice the noise")
    assert strata.borne_out(first, Verdict(status=again, reason="so it is"), fresh=True).status is status
