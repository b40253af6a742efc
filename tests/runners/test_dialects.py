"""What the engines' files make of answers, good and bad, in the shapes that the engines send."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from matrix.errors import EngineBrokeProtocol
from runners.engines import llama_cpp_python, sglang, vllm

IDS = (5, 17, 250, 31)


def vllm_scored() -> Any:
    rows = [{str(i): {"logprob": -float(rank), "rank": rank} for rank, i in enumerate((i, 8), 1)} for i in IDS[1:]]
    return {"choices": [{"prompt_logprobs": [None, *rows]}]}


def vllm_generated() -> Any:
    tops = [{"token_id:9": -0.5, "token_id:8": -1.5}, {"token_id:3": -0.25, "token_id:8": -2.5}]
    logprobs = {"tokens": ["token_id:9", "token_id:3"], "token_logprobs": [-0.5, -0.25], "top_logprobs": tops}
    choice = {"text": "ab", "token_ids": [9, 3], "logprobs": logprobs, "finish_reason": "length"}
    return {"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}


def sglang_scored() -> Any:
    targets = [[None, IDS[0], None], *([-1.0, i, None] for i in IDS[1:])]
    tops = [None, *([[-1.0, i, None], [-2.0, 8, None]] for i in IDS[1:])]
    return {"meta_info": {"input_token_logprobs": targets, "input_top_logprobs": tops}}


def sglang_generated() -> Any:
    meta = {
        "output_token_logprobs": [[-0.5, 9, None], [-0.25, 3, None]],
        "output_top_logprobs": [[[-0.5, 9, None], [-1.5, 8, None]], [[-0.25, 3, None], [-2.5, 8, None]]],
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "finish_reason": {"type": "length"},
    }
    return {"text": "ab", "output_ids": [9, 3], "meta_info": meta}


@pytest.mark.parametrize(("engine", "answer"), [(vllm, vllm_scored()), (sglang, sglang_scored())])
def test_given_ids_have_their_rows(engine: Any, answer: Any) -> None:
    """A row each for all ids but the first, which nothing precedes."""
    scores = engine.parse_scores(answer, IDS)
    assert scores.target_logprobs.tolist() == [-1.0, -1.0, -1.0]
    assert scores.top_ids.tolist() == [[17, 8], [250, 8], [31, 8]]


@pytest.mark.parametrize(("engine", "answer"), [(vllm, vllm_generated()), (sglang, sglang_generated())])
def test_generated_ids_have_their_rows(engine: Any, answer: Any) -> None:
    """A row for each generated id."""
    made = engine.parse_generation(answer)
    assert made.token_ids == (9, 3)
    assert made.scores.target_logprobs.tolist() == [-0.5, -0.25]
    assert np.array_equal(made.scores.top_ids, [[9, 8], [3, 8]])


def test_vllm_must_list_the_id_that_was_asked_for() -> None:
    """Its API promises the prompt's own id in each position's list; without it, nothing of that id is known."""
    answer = vllm_scored()
    answer["choices"][0]["prompt_logprobs"][2] = {str(i): {"logprob": -1.0} for i in (9, 4, 7, 8, 6)}
    with pytest.raises(EngineBrokeProtocol) as caught:
        vllm.parse_scores(answer, IDS)
    assert str(caught.value) == "its logprobs at position 2 are of ids 4, 6, 7 and 2 more, not of id 250"


def test_vllm_must_score_what_it_generated() -> None:
    """The ids beside the logprobs are the generated ones."""
    answer = vllm_generated()
    answer["choices"][0]["logprobs"]["tokens"][1] = "token_id:8"
    with pytest.raises(EngineBrokeProtocol) as caught:
        vllm.parse_generation(answer)
    assert str(caught.value) == "its logprob at position 5 is of id 8, not of id 3"


def test_sglang_must_score_the_ids_that_were_asked_for() -> None:
    """Its answer says of which id each logprob is."""
    answer = sglang_scored()
    answer["meta_info"]["input_token_logprobs"][2][1] = 251
    with pytest.raises(EngineBrokeProtocol) as caught:
        sglang.parse_scores(answer, IDS)
    assert str(caught.value) == "its logprob at position 2 is of id 251, not of id 250"


def test_sglang_must_score_what_it_generated() -> None:
    """The same for generated ids."""
    answer = sglang_generated()
    answer["meta_info"]["output_token_logprobs"][0][1] = 8
    with pytest.raises(EngineBrokeProtocol) as caught:
        sglang.parse_generation(answer)
    assert str(caught.value) == "its logprob at position 4 is of id 8, not of id 9"


@pytest.mark.parametrize(("change", "count"), [(lambda rows: rows.pop(), 2), (lambda rows: rows.append(rows[-1]), 4)])
@pytest.mark.parametrize(
    ("engine", "answer", "place"),
    [
        (vllm, vllm_scored(), ("choices", 0, "prompt_logprobs")),
        (sglang, sglang_scored(), ("meta_info", "input_token_logprobs")),
        (sglang, sglang_scored(), ("meta_info", "input_top_logprobs")),
    ],
    ids=["vllm", "sglang", "sglang's lists"],
)
def test_as_many_positions_as_were_asked_for(engine: Any, answer: Any, place: Any, change: Any, count: int) -> None:
    """Fewer and more are told with both counts."""
    answer = copy.deepcopy(answer)
    rows = answer
    for step in place:
        rows = rows[step]
    change(rows)
    with pytest.raises(EngineBrokeProtocol) as caught:
        engine.parse_scores(answer, IDS)
    assert str(caught.value) == f"scores {count} positions where 3 were asked for"


def test_the_shim_of_llama_cpp_python_answers_in_rows() -> None:
    """Its rows carry no id of their own: what they are of is known by their place, so their number is checked later."""
    rows = [{"logprob": -1.0, "top": [[i, -1.0], [8, -2.0]]} for i in IDS[1:]]
    scores = llama_cpp_python.parse_scores({"rows": rows}, IDS)
    assert scores.top_ids.tolist() == [[17, 8], [250, 8], [31, 8]]
