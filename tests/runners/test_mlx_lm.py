"""What MLX LM's file asks and makes of answers, in the shapes that its server and the shim send."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import numpy as np
import pytest

from matrix.errors import EngineBrokeProtocol
from runners.engine import Ask, Prompt
from runners.engines import mlx_lm
from tests.fake_engine.bench import CELL, spec

ASK = Ask(model="default_model", prompt=Prompt(token_ids=(504, 3575), text="The capital"), max_tokens=2)


def listed(*rows: tuple[int, str, float]) -> Any:
    """One token's part of an answer: its own id is that of whichever comes first in the list."""
    top = [{"id": i, "token": token, "logprob": logprob} for i, token, logprob in rows]
    return {**top[0], "top_logprobs": top}


def generated() -> Any:
    """Of mlx-lm 0.32.2, asked for the logprobs of three ids: `I'm` is generated, of two equals the first, by id."""
    content = [
        listed((26843, "Hi", -3.125), (19556, "Hello", -2.375), (57, "I", -2.375)),
        listed((963, "Ġsee", -5.0), (5248, "'m", -0.25), (6737, "'d", -3.0)),
    ]
    choice = {
        "index": 0, "finish_reason": "length", "logprobs": {"content": content}, "text": "I'm",
        "token_ids": [57, 5248], "token_logprobs": [-2.375, -0.25],
    }  # fmt: skip
    details = {"prompt_tokens_details": {"cached_tokens": 7}}
    usage = {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14, **details}
    return {"object": "text_completion", "model": "default_model", "choices": [choice], "usage": usage}


def test_what_was_generated_is_not_what_its_lists_begin_with() -> None:
    """Ids and their logprobs are the shim's; the server's own name the first of each list."""
    made = mlx_lm.parse_generation(generated())
    assert made.token_ids == (57, 5248)
    assert made.scores is not None
    assert made.scores.target_logprobs.tolist() == [-2.375, -0.25]
    assert np.array_equal(made.scores.top_ids, [[26843, 19556, 57], [963, 5248, 6737]])
    assert (made.prompt_tokens, made.completion_tokens, made.cached_tokens) == (12, 2, 7)


def test_without_logprobs_there_are_ids_alone() -> None:
    """An answer that was not asked for any has neither `logprobs` nor values of them; the end of text is an id too."""
    answer = generated()
    answer["choices"][0] |= {"finish_reason": "stop", "text": "", "token_ids": [2], "token_logprobs": []}
    del answer["choices"][0]["logprobs"], answer["usage"]["prompt_tokens_details"]
    made = mlx_lm.parse_generation(answer)
    assert (made.token_ids, made.scores, made.finish_reason, made.cached_tokens) == ((2,), None, "stop", None)


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_lists_as_ids(count: int) -> None:
    """Fewer and more are told with both counts."""
    answer = generated()
    content = answer["choices"][0]["logprobs"]["content"]
    answer["choices"][0]["logprobs"]["content"] = [*content, copy.deepcopy(content[0])][:count]
    with pytest.raises(EngineBrokeProtocol) as caught:
        mlx_lm.parse_generation(answer)
    assert str(caught.value) == f"scores {count} positions where 2 were asked for"


def test_a_stream_carries_text_and_then_counts() -> None:
    """Events with text, one with the finish reason, one with `usage` and no choice."""
    texts = [{"choices": [{"index": 0, "finish_reason": None, "text": "Paris"}]}]
    texts += [{"choices": [{"index": 0, "finish_reason": "length", "text": ""}]}]
    usage = {"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 6, "total_tokens": 14}}
    first, last, counts = map(mlx_lm.parse_chunk, [*texts, usage])
    assert (first.text, first.finished, first.token_ids) == ("Paris", False, None)
    assert last.finished
    assert (counts.prompt_tokens, counts.completion_tokens) == (8, 6)


def test_only_what_samples_has_a_seed() -> None:
    """The server answers a request with a seed alone, outside its batches."""
    greedy, sampled = (mlx_lm.generate(msgspec.structs.replace(ASK, temperature=t, seed=3)).body for t in (0.0, 1.0))
    assert "seed" not in greedy
    assert (sampled["seed"], sampled["temperature"]) == (3, 1.0)


def test_it_is_asked_for_logprobs_where_some_are_wanted() -> None:
    """Both words: by `top_logprobs` alone it would give no logprob of the generated id."""
    plain, scored = (mlx_lm.generate(msgspec.structs.replace(ASK, top_k=k)).body for k in (0, 11))
    assert "logprobs" not in plain
    assert (scored["logprobs"], scored["top_logprobs"]) == (True, 11)


def test_another_dtype_than_the_checkpoint_s_is_not_supported() -> None:
    """There is no option for it; the reason names the one it would compute in. In float32 it is given other weights."""

    def told(dtype: str) -> str | None:
        return mlx_lm.supports(msgspec.structs.replace(CELL, config=msgspec.structs.replace(CELL.config, dtype=dtype)))

    reason = told("float16")
    assert (mlx_lm.supports(CELL), told("float32")) == (None, None)
    assert reason == "mlx_lm.server has no option for a dtype: it computes in that of the checkpoint, bfloat16"


def test_the_plainest_settings() -> None:
    """No prompt cache and nothing compiled; by default it compiles, and keeps that with its environment."""
    launch = spec()
    config = msgspec.structs.replace(CELL.config, eager=True, prefix_cache=False)
    plain = msgspec.structs.replace(launch, cell=msgspec.structs.replace(CELL, config=config))
    assert mlx_lm.command(plain)[-2:] == ("--prompt-cache-size", "0")
    assert mlx_lm.environment(plain) == {"MLX_DISABLE_COMPILE": "1"}
    assert mlx_lm.environment(launch) == {"TMPDIR": str(launch.kernels)}


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ({"version": "0.32.2", "engine": "mlx-lm"}, "0.32.2"),
        ({"version": "0.32.0"}, None),
        ({"version": "0.3.36", "engine": "llama-cpp-python"}, None),
    ],
)
def test_it_claims_no_other_engine_s_server(answer: Any, version: str | None) -> None:
    """Only a server that says whose it is has a version."""
    assert mlx_lm.version(lambda path: answer) == version


def test_a_server_without_the_route_says_no_version() -> None:
    """As the server that somebody starts by its own command."""

    def get(path: str) -> Any:
        raise LookupError(path)

    assert mlx_lm.version(get) is None
