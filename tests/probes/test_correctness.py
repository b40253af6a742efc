"""Correctness: what is asked of an engine, what is kept of its answers, and what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from matrix.errors import EngineBrokeProtocol, Infrastructure
from matrix.results import Measurement, Status, Table, Verdict, read_measurement, write_measurement
from probes import correctness, strata
from runners.engine import Engine
from tests.fake_engine.adapter import fake_engine
from tests.fake_engine.bench import CELL, WORKLOAD, StandIn, arrays, bench, launched, verdict_of, with_workload


def measured(engine: Engine, folder: Path) -> Measurement:
    with launched(engine, folder) as server:
        return correctness.measure(server, CELL, bench())


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return measured(fake_engine("healthy"), tmp_path_factory.mktemp("healthy"))


def test_both_strata_are_judged(healthy: Measurement) -> None:
    """An engine that scores ids is judged on prefill and on decode, and a PASS names both."""
    verdict = strata.judge(healthy, CELL)
    assert verdict.status is Status.PASS
    assert verdict.reason.startswith("prefill: ")
    assert "; decode: " in verdict.reason
    assert {"prefill_ratio", "decode_ratio", "prefill_misses", "decode_nonfinite"} <= set(verdict.numbers)


def test_every_generated_token_is_judged_and_no_prompt(healthy: Measurement) -> None:
    """Decode counts the generated tokens, prefill every token but the first of each sequence."""
    numbers = strata.judge(healthy, CELL).numbers
    assert numbers["decode_tokens"] == WORKLOAD.decode_sequences * WORKLOAD.decode_tokens
    assert numbers["prefill_tokens"] == WORKLOAD.corpus_sequences * (WORKLOAD.corpus_length - 1)


def test_rows_of_generated_tokens_begin_behind_the_prompt(healthy: Measurement) -> None:
    """The engine's row for the first generated token stands in the column of that token."""
    first = WORKLOAD.decode_prompt_length - 1
    targets = healthy.tables["decode"]["target_logprobs"]
    assert np.isnan(targets[:, :first]).all()
    assert np.isfinite(targets[:, first:]).all()
    wanted = healthy.tables["decode reference"]["reference/target_logprobs"]
    assert targets[:, first:] == pytest.approx(wanted[:, first:], abs=0.5)


def test_a_stored_measurement_gives_the_same_verdict(healthy: Measurement, tmp_path: Path) -> None:
    """Judging needs no engine: what was written and read again is judged as it was at first."""
    path = write_measurement(tmp_path, CELL.id, "correctness", healthy)
    assert strata.judge(read_measurement(path), CELL) == strata.judge(healthy, CELL)


@pytest.mark.parametrize(("table", "word"), [("prefill", "prefill: "), ("decode", "decode: ")])
def test_one_bad_stratum_is_enough(table: str, word: str, healthy: Measurement) -> None:
    """The worst stratum decides, and the other one is still told."""
    bad = dict(healthy.tables[table])
    bad["target_logprobs"] = bad["target_logprobs"].copy()
    bad["target_logprobs"][2, 40] = np.nan
    broken = msgspec.structs.replace(healthy, tables={**healthy.tables, table: bad})
    verdict = strata.judge(broken, CELL)
    assert verdict.status is Status.FAIL
    assert f"{word}non-finite logprob at sequence 2 position 41" in verdict.reason


def test_a_gap_in_the_answers_is_not_finite(healthy: Measurement) -> None:
    """A token that the engine gave no logprob for counts against it, and is not skipped."""
    short = {name: array[:, :-1] for name, array in healthy.tables["prefill"].items()}
    padded = {
        name: np.concatenate([array, np.full_like(healthy.tables["prefill"][name][:, -1:], fill)], axis=1)
        for (name, array), fill in zip(short.items(), (np.nan, -1, np.nan), strict=True)
    }
    verdict = strata.judge(msgspec.structs.replace(healthy, tables={**healthy.tables, "prefill": padded}), CELL)
    assert verdict.status is Status.FAIL


class Alike(StandIn, frozen=True, kw_only=True):
    """A corpus of which two sequences open alike, as far as an engine is given them, and two are the same."""

    def corpus(self, first: int = 0, count: int | None = None) -> Table:
        ids = super().corpus(first, count)["token_ids"].tolist()
        ids[1][: WORKLOAD.decode_prompt_length] = ids[0][: WORKLOAD.decode_prompt_length]
        ids[5] = ids[4]
        return arrays(ids, [1] * len(ids))


def test_what_sequences_share_is_asked_and_counted_once(tmp_path: Path) -> None:
    """A long template gives many chats one opening; a short corpus may hold a sequence twice."""
    known = bench()
    alike = Alike(**{name: getattr(known.reference, name) for name in known.reference.__struct_fields__})
    with launched(fake_engine("healthy"), tmp_path) as server:
        found = correctness.measure(server, CELL, msgspec.structs.replace(known, reference=alike))
    assert len(found.tables["decode"]["target_logprobs"]) == 14
    verdict = strata.judge(found, CELL)
    assert verdict.status is Status.PASS, verdict.reason
    assert verdict.numbers["prefill_sequences"] == 15
    assert verdict.numbers["prefill_tokens"] == 16 * 63 - 63 - WORKLOAD.decode_prompt_length


def test_text_alone_is_judged_by_its_margins(tmp_path: Path) -> None:
    """An engine that gives only text passes where no generated token is beyond rounding."""
    cell = with_workload(decode_tokens=80)
    verdict = verdict_of(correctness.PROBE, fake_engine("healthy", takes="text"), tmp_path, cell=cell)
    assert verdict.status is Status.PASS, verdict.reason
    assert verdict.reason.startswith("decode, text alone: 0 of 1280 generated tokens cannot be explained by rounding")


def masking(folder: Path, *, said: bool) -> Verdict:
    """Of an engine that never chooses the id at which its model would often end; `said`: its file says so."""
    cell = with_workload(decode_tokens=80)
    with launched(fake_engine("healthy", takes="text"), folder) as server:
        end = often_generated(correctness.measure(server, cell, bench(cell.device.workload)))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
    with launched(fake_engine(f"masks={end}", takes="text"), folder) as server:
        engine = msgspec.structs.replace(server.engine, masks_ends=said)
        server = msgspec.structs.replace(server, engine=engine, model_path=folder)
        found = correctness.measure(server, cell, bench(cell.device.workload))
    return strata.judge(found, cell)


def often_generated(found: Measurement) -> int:
    """The id that most of the texts have."""
    table = found.tables["decode reference"]
    made = zip(table["token_ids"][:, 1:], strata.generated(table), strict=True)
    return int(np.bincount(np.concatenate([np.unique(ids[where]) for ids, where in made])).argmax())


def test_an_end_that_cannot_be_chosen_is_not_missed(tmp_path: Path) -> None:
    """Told to go on, an engine that masks the ends takes the next best token, which rounding does not explain."""
    verdict = masking(tmp_path, said=True)
    assert verdict.status is Status.PASS, verdict.reason
    assert verdict.numbers["decode_hard_mismatches"] == 0


def test_the_next_best_token_would_be_a_mismatch(tmp_path: Path) -> None:
    """The same texts of an engine whose file does not say that it masks."""
    verdict = masking(tmp_path, said=False)
    assert verdict.status is not Status.PASS
    assert verdict.numbers["decode_hard_mismatches"] > 0


@pytest.mark.parametrize(("unusable", "status"), [(15, Status.PASS), (17, Status.UNDECIDED)])
def test_texts_that_cannot_be_read_are_told_and_must_be_few(unusable: int, status: Status, tmp_path: Path) -> None:
    """Garbage may be what cannot be tokenised back, so most of the texts must have been read for a PASS."""
    cell = with_workload(decode_tokens=80)
    with launched(fake_engine("healthy", takes="text"), tmp_path) as server:
        found = correctness.measure(server, cell, bench(cell.device.workload))
    assert (found.values["texts"], found.values["unusable_texts"]) == (16, 0)
    values = {**found.values, "texts": 32, "unusable_texts": unusable}
    verdict = strata.judge(msgspec.structs.replace(found, values=values), cell)
    assert verdict.status is status
    assert f"{unusable} of 32 texts do not give their token ids back and are left out" in verdict.reason


def test_text_that_nobody_can_read_is_nobodys_fault(tmp_path: Path) -> None:
    """Where no text gives as many token ids as the engine counted, nothing can be compared and nobody is blamed."""
    with pytest.raises(Infrastructure, match="no generated text gives its token ids back"):
        measured(fake_engine("usage-twice", takes="text"), tmp_path)


def test_too_little_text_is_undecided(tmp_path: Path) -> None:
    """A handful of right tokens proves nothing, and the sentence says how many would."""
    cell = with_workload(decode_sequences=2, decode_tokens=8)
    verdict = verdict_of(correctness.PROBE, fake_engine("healthy", takes="text"), tmp_path, cell=cell)
    assert verdict.status is Status.UNDECIDED
    assert "a verdict takes" in verdict.reason


def test_text_of_another_model_fails(tmp_path: Path) -> None:
    """Text that the reference would not have written fails."""
    verdict = verdict_of(correctness.PROBE, fake_engine("other-model", takes="text"), tmp_path)
    assert verdict.status is Status.FAIL
    assert "first at sequence 0 position 16" in verdict.reason


@pytest.mark.parametrize("takes", ["token-ids", "text"])
def test_generating_nothing_breaks_the_protocol(takes: str, tmp_path: Path) -> None:
    """A fixed number of tokens was asked for and none came."""
    engine = fake_engine("generates-nothing", takes="text" if takes == "text" else "token-ids")
    with pytest.raises(EngineBrokeProtocol, match="generated nothing"):
        measured(engine, tmp_path)
