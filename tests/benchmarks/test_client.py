"""What the client's benchmarks print, from given measurements."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from tests.benchmarks.client import cross_check, page
from tests.benchmarks.client.__main__ import Result
from tests.benchmarks.client.cross_check import Measured, Round
from tests.benchmarks.client.tools import Load, Said
from tests.token_server.log import Sent, truth

DAY = dt.date(2026, 1, 2)
TRUE = Said(output_tokens_per_s=1000.0, ttft_s=0.2, tpot_s=0.01, itl_s=0.01)
SENT = Sent(first_id=7, read_ns=0, sent_ns=(200_000_000, 210_000_000, 230_000_000), tokens=(4, 4, 2))


def test_the_log_gives_the_metrics_by_their_definitions() -> None:
    """Ten tokens in 230 ms, four of them after 200: six tokens took 30 ms."""
    found = truth([SENT])
    assert found.output_tokens_per_s == pytest.approx(10 / 0.23)
    assert (found.ttft_s, found.tpot_s, found.itl_s) == pytest.approx((0.2, 0.005, 0.015))
    assert found.tokens == 10


def test_errors_of_single_answers_are_found_by_the_first_id(tmp_path: Path) -> None:
    """One answer whose first token was read 1 ms and whose last 3 ms late."""
    answer = {"first_id": 7, "ttft_s": 0.201, "end_s": 0.233, "tpot_s": 0.032 / 6, "tokens": 10}
    (tmp_path / "ours.json").write_text(json.dumps({"answers": [answer]}))
    found = page.worst(tmp_path, [SENT])
    assert found == {
        "ttft_s": pytest.approx(0.001),
        "ttft_median_s": pytest.approx(0.001),
        "end_s": pytest.approx(0.003),
        "tpot": pytest.approx(2 / 30),
        "miscounted": 0,
    }


def result(tool: str, said: Said, cpu: float) -> Result:
    worst = {"ttft_s": 0.003, "ttft_median_s": 0.001, "end_s": 0.02, "tpot": 0.01, "miscounted": 0}
    ours = tool == "this project"
    return Result(
        case="a case", tool=tool, said=said, really=TRUE, cpu_s_per_million_tokens=cpu,
        worst=worst if ours else {}, worst_of_one_round=worst if ours else {},
    )  # fmt: skip


@pytest.mark.parametrize(("ttft_s", "word"), [(0.2019, "met"), (0.2021, "not met")])
def test_a_missed_goal_is_said(ttft_s: float, word: str) -> None:
    """2 ms for TTFT; and whoever is nearest is named, whether or not it is ours."""
    ours = Said(output_tokens_per_s=1005.0, ttft_s=ttft_s, tpot_s=0.01005, itl_s=None)
    theirs = Said(output_tokens_per_s=1010.0, ttft_s=0.21, tpot_s=0.01001, itl_s=0.01)
    text = page.document([result("this project", ours, 40.0), result("other", theirs, 50.0)], "here", DAY)
    assert f"| this project | +0.50% | {1000 * (ttft_s - 0.2):+.2f} ms | +0.50% | not reported | 40.0 s |" in text
    assert f"TTFT within 2 ms): {word}. " in text
    assert "Nearest to the log in tokens/s: this project, TTFT: this project, TPOT: other, ITL: other" in text
    assert "cheapest: this project" in text


def test_ratios_are_taken_within_a_round() -> None:
    """A slow minute that both met is no difference between them; what the machine explains is called alike."""
    load = Load(requests=1, concurrency=1, prompt_tokens=8, output_tokens=8)

    def turn(slow: float, ttft_s: float) -> Measured:
        return Measured(output_tokens_per_s=50 / slow, ttft_s=ttft_s * slow, tpot_s=0.01 * slow, whole_s=0.02 * slow)

    rounds = [
        Round(engine="alpha", load=load, ours=turn(slow, 0.1), theirs=turn(slow, 0.2), again=turn(slow, 0.1))
        for slow in (1.0, 3.0, 1.0)
    ]
    text = cross_check.document(rounds, "here", DAY)
    same = "1.000 (1.000 to 1.000)"
    assert f"| alpha | 1 | output tokens/s | 50 | 50 | {same} | {same} | yes |" in text
    assert f"| alpha | 1 | TTFT | 100 ms | 200 ms | 0.500 (0.500 to 0.500) | {same} | no |" in text
