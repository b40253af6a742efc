"""The mutation benchmark: outcomes by hand, scores by count, gathered sequences row by row, one mutant for real."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from matrix.results import Table
from probes import tables
from probes.tables import matrix as packaged
from reports.proofs import CheckpointScore, MutationScore
from runners import http
from runners.engine import Ask, Environment, Prompt
from runners.host import Host
from tests.benchmarks.mutation import page, running, scores
from tests.benchmarks.mutation.__main__ import doubt
from tests.benchmarks.mutation.engine import ENGINE
from tests.benchmarks.mutation.gathering import Asked, Gathering, rows_of
from tests.benchmarks.mutation.records import Judged, JudgedCheckpoint, Outcome, Stratum, Told

MADE_AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
RECIPE = "llama-3.2-1b-instruct"


def told(operator: str = "scale", site: str = "0", *, null: bool = False, same: str = "") -> Told:
    return Told(operator=operator, group="attention", site=site, null=null, same=same, chunk=48, path=0)


def stratum(times: float) -> Stratum:
    return Stratum(times=times, largest=times * 1e-5, noise_largest=1e-5, misses=0, nonfinite=0)


def judged(
    status: str, times: float = 1.0, relative: float | None = None, nats: float | None = None, *,
    mutant: Told | None = None, rejected: tuple[str, ...] = (), digest: str = "",
) -> Judged:  # fmt: skip
    return Judged(
        told=mutant or told(), status=status, reason=f"{status} said", seconds=1.0, digest=digest, relative=relative,
        nats=nats, strata={"prefill": stratum(times), "decode": stratum(1.0)}, rules=dict.fromkeys(rejected, True),
    )  # fmt: skip


def checkpoint(*found: Judged, recipe: str = "tiny", architecture: str = "TinyForCausalLM") -> JudgedCheckpoint:
    return JudgedCheckpoint(
        recipe=recipe, architecture=architecture, digest="0", transformers="5.0", judged=found, seconds=60.0
    )


# --- outcomes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (judged("FAIL", 500.0), "killed"),
        (judged("UNDECIDED", 50.0, 1e-5, 1e-3), "undecided"),
        (judged("PASS", 2.0, 1e-6, 2e-5), "below the floor"),
        (judged("PASS", 2.0, 1e-3, 2e-2), "hole"),  # beyond 100 times 1e-5 nats somewhere, and not seen
        (judged("PASS", 2.0, 1e-15, 1e-14, mutant=told(same="distances alone count")), "equivalent"),
        (judged("UNDECIDED", 2.0, 1e-15, 1e-14, mutant=told(same="distances alone count")), "equivalent"),
        (judged("UNDECIDED", 2.0, 1e-15, 1e-14), "undecided"),
        (judged("PASS", 2.0, 1e-15, 1e-14), "hole"),  # identical, and nobody knows why
        (judged("UNFIT"), "unfit"),
    ],
)
def test_outcomes(one: Judged, outcome: Outcome) -> None:
    """A PASS is excused by float64 alone: identical with a reason, or less than a FAIL needs."""
    assert scores.outcome(one) == outcome


# --- scores -----------------------------------------------------------------------------------------------

FOUND = checkpoint(
    *(judged("FAIL", 1000.0, mutant=told("weights", str(n)), rejected=("llama.cpp NMSE",)) for n in range(8)),
    judged("FAIL", 300.0, mutant=told("positions")),
    judged("PASS", 2.0, 1e-6, 2e-5, mutant=told("positions", "1")),
    judged("PASS", 1.0, 1e-15, 1e-14, mutant=told("shift", same="distances alone count")),
    judged("UNFIT", mutant=told("fields")),
    judged("PASS", mutant=told("weights", null=True), digest="a"),
    judged("PASS", mutant=told("positions", null=True), digest="a"),
    judged("PASS", mutant=told("shift", null=True), digest="b"),
)


def test_a_score_is_a_mean_over_operators() -> None:
    """8 of 8 and 1 of 2: three quarters, though nine of ten are killed; equivalent and unfit ones count nowhere."""
    found = scores.record([FOUND], "now")
    assert (found.score, found.mutants, found.killed, found.operators) == (0.75, 10, 9, 2)
    assert found.checkpoints["tiny"] == CheckpointScore(
        architecture="TinyForCausalLM", mutants=10, killed=9, operators=2, score=0.75
    )


def test_null_twins_are_counted_by_what_they_gave() -> None:
    """Three twins, two of them the same to the bit: two units; other checkpoints' are others."""
    assert scores.distinct(scores.twins([FOUND])) == 2
    assert scores.distinct(scores.twins([FOUND, msgspec.structs.replace(FOUND, recipe="other")])) == 4
    assert scores.alarms(scores.twins([checkpoint(judged("FAIL", mutant=told(null=True)))]))


def test_kills_by_how_far_they_stand() -> None:
    """Eight at a thousand times the floor, one at three hundred."""
    assert scores.far(scores.mutants([FOUND]), 500.0) == pytest.approx(8 / 9)


def test_rules_of_others_are_scored_alike() -> None:
    """NMSE rejects all of one operator and none of the other."""
    assert scores.mean_over_operators(scores.mutants([FOUND]), scores.rejected_by("llama.cpp NMSE")) == 0.5


def test_the_page_lists_every_survivor_with_its_reason() -> None:
    """Below the floor by name and size, equivalent by reason, unfit by name."""
    text = page.document([FOUND], MADE_AT, {})
    assert "Left out" not in text
    assert "| positions: 1 | tiny | below the floor | 2 | 2.0e-05 |" in text
    assert "- shift (1, at most 1e-15 apart in float64): distances alone count." in text
    assert "the changed model does not run: fields (1)" in text
    assert "| killed, averaged over operators | at least 98% | 75.0% | missed |" in text
    assert "3 null twins, 2 of them distinct to the bit: 0 accused, 0 undecided" in text


def test_a_checkpoint_whose_reference_errs_is_left_out_by_name() -> None:
    """The rule that makes a square REF-SUSPECT keeps its mutants out of the score, with its reason."""
    reason = doubt(tables.matrix(), "nvidia-nemotron-3-nano-30b-a3b-bf16")
    assert reason is not None and doubt(tables.matrix(), "llama-3.2-1b-instruct") is None
    assert f"- nemotron: {reason}" in page.document([FOUND], MADE_AT, {"nemotron": reason})


def test_of_what_is_left_out_the_alarms_are_told() -> None:
    """They are no less so for not being counted."""
    assert page.left_out(FOUND, "it errs") == "it errs. Judged all the same, 0 of its 3 null twins were accused"


def test_the_json_can_be_read_back() -> None:
    """By the type that wrote it."""
    found = page.record([FOUND], MADE_AT)
    assert msgspec.json.decode(msgspec.json.encode(found), type=MutationScore) == found


# --- gathering --------------------------------------------------------------------------------------------


def table_of(asked: Asked) -> Table:
    """A table whose numbers say which sequence they are of."""
    longest = max(map(len, asked.token_ids))
    ids = np.full((len(asked.token_ids), longest), -1)
    for row, sequence in enumerate(asked.token_ids):
        ids[row, : len(sequence)] = sequence
    return {
        "token_ids": ids,
        "lengths": np.array([len(sequence) for sequence in asked.token_ids]),
        "prompt_lengths": np.array(asked.prompt_lengths),
        "reference/target_logprobs": ids[:, 1:].astype(float),
        "reference/top_ids": np.repeat(ids[:, 1:, None], 3, axis=2),
        "metadata": np.array("{}"),
    }


def asking(gathering: Gathering, number: int, length: int) -> Callable[[], Table]:
    return lambda: gathering.score(Asked([[number] * length, [number + 100] * length], [1, 2]))


def test_each_gets_the_rows_of_its_own() -> None:
    """Sequences of three parties in one call, each as wide as its own are."""
    calls: list[int] = []

    def score(asked: Asked) -> Table:
        calls.append(len(asked.token_ids))
        return table_of(asked)

    gathering = Gathering(score, 3)
    answers = gathering.run([asking(gathering, number, length) for number, length in ((1, 4), (2, 6), (3, 5))])
    assert calls == [6]
    for answer, number, length in zip(answers, (1, 2, 3), (4, 6, 5), strict=True):
        assert isinstance(answer, dict)
        assert answer["token_ids"].tolist() == [[number] * length, [number + 100] * length]
        assert answer["reference/target_logprobs"].shape == (2, length - 1)
        assert answer["reference/top_ids"].shape == (2, length - 1, 3)
        assert answer["prompt_lengths"].tolist() == [1, 2]


def test_who_fails_is_not_waited_for() -> None:
    """An exception before the reference is asked is that party's result; the others go on."""

    def broken() -> Table:
        raise LookupError("the mutant does not run")

    gathering = Gathering(table_of, 3)
    first, second, third = gathering.run([asking(gathering, 1, 4), broken, asking(gathering, 3, 4)])
    assert isinstance(second, LookupError)
    assert isinstance(first, dict) and isinstance(third, dict)
    assert third["token_ids"].tolist() == [[3] * 4, [103] * 4]


def test_parties_ask_their_server_one_after_another() -> None:
    """Until a party asks the reference it is alone with the server, which holds one mutant at a time."""
    inside, most = [0], [0]
    gathering = Gathering(table_of, 4)

    def job(number: int) -> Table:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.02)
        inside[0] -= 1
        return gathering.score(Asked([[number, number]], [1]))

    gathering.run([partial(job, number) for number in range(4)])
    assert most == [1]


def test_a_failing_reference_fails_all() -> None:
    """Nobody waits for ever."""

    def score(_: Asked) -> Table:
        raise OSError("no reference")

    gathering = Gathering(score, 2)
    answers = gathering.run([asking(gathering, 1, 4), asking(gathering, 2, 4)])
    assert [type(answer) for answer in answers] == [OSError, OSError]


def test_rows_of_a_table() -> None:
    """A slice keeps what is no array of rows."""
    part = rows_of(table_of(Asked([[1, 1], [2, 2, 2]], [1, 1])), 0, 1)
    assert part["token_ids"].tolist() == [[1, 1]]
    assert part["metadata"].shape == ()


# --- the engine -------------------------------------------------------------------------------------------


def test_the_dialect_reads_what_the_program_says() -> None:
    """Ids, their logprobs and the counts of a generation."""
    row = {"logprob": -0.5, "top": [[7, -0.5], [8, -1.5]]}
    event = {"token_id": 7, "text": "", "completion_tokens": 1, "finish_reason": "length", "row": row}
    made = ENGINE.parse_generation({"prompt_tokens": 3, "events": [event]})
    assert (made.token_ids, made.finish_reason, made.prompt_tokens) == ((7,), "length", 3)
    assert made.scores is not None
    assert made.scores.top_ids.tolist() == [[7, 8]]
    ask = Ask(model="m", prompt=Prompt(token_ids=(1, 2), text=""), max_tokens=4, top_k=2)
    assert ENGINE.generate(ask).body == {"token_ids": [1, 2], "max_tokens": 4, "top_k": 2}


@pytest.mark.engine
def test_a_fault_is_killed_and_its_twin_passes(reference_python: Path, tmp_path: Path) -> None:
    """Two mutants of a tiny Llama, served and judged for real; a shift of all positions is none in float64."""
    environment = Environment(folder=reference_python.parents[1], python=reference_python, requirements_sha256="0" * 64)
    with (
        Host(reference_python) as host,
        running.opened(packaged(), RECIPE, host, environment, tmp_path / "server.log") as work,
    ):
        every = msgspec.convert(http.get_json(f"{work.server.base_url}/mutants"), list[Told])
        wanted = ("attention scale", "all positions shifted")
        some = [(number, one) for number, one in enumerate(every) if one.operator in wanted]
        found = {(one.told.operator, one.told.null, one.told.site): one for one in running.together(work, some)}
    outcomes = {key: scores.outcome(one) for key, one in found.items() if not key[1]}
    assert outcomes == {
        ("attention scale", False, "a hundredth too large in all layers"): "killed",
        ("attention scale", False, "the same in the last"): "killed",
        ("all positions shifted", False, "all + 1"): "equivalent",
    }
    assert {one.status for key, one in found.items() if key[1]} == {"PASS"}
