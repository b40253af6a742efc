"""What llama-server's file makes of its answers, in the shapes that it sends (recorded with SmolLM2 135M)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from matrix.cells import Config
from matrix.errors import EngineBrokeProtocol
from runners.engine import Ask, Conversion, Environment, Launch, Prompt
from runners.engines import llama_cpp_python, llama_server
from tests.fake_engine import bench

PROMPT = Prompt(token_ids=(504, 3575, 282, 4649, 314), text="The capital of France is")
ENVIRONMENT = Environment(folder=Path("/environment"), python=Path("/environment/bin/python"), requirements_sha256="0")


def row(token_id: int, text: str, logprob: float, *others: tuple[int, float]) -> Any:
    """Of one token: what the server lists begins with the likeliest."""
    listed = [{"id": i, "token": "", "bytes": [], "logprob": x} for i, x in ((token_id, logprob), *others)]
    return {
        "id": token_id, "token": text, "bytes": list(text.encode()), "logprob": logprob, "top_logprobs": listed
    }  # fmt: skip


def answer(content: str, ids: list[int], rows: list[Any] | None = None, n_probs: int = 2) -> Any:
    """Without `rows` there is no such key, as where nothing is listed."""
    listed = {} if rows is None else {"completion_probabilities": rows}
    return {
        "content": content, "tokens": ids, "stop": True, "tokens_predicted": len(ids), "tokens_evaluated": 5,
        "generation_settings": {"n_probs": n_probs}, "stop_type": "limit", "timings": {"cache_n": 4, "prompt_n": 1},
        **listed,
    }  # fmt: skip


def plain() -> Any:
    paris = row(7042, " Paris", -0.259, (260, -2.765))
    return answer(" Paris.\n", [7042, 30, 198], [paris, row(30, ".", -0.395, (28, -1.624)), row(198, "\n", -1.001)])


def japanese() -> Any:
    """Of 、アプ and half a character: ids 10391 and 11100 end within one, so 112 and 241 stand for two ids each."""
    rows = [row(29917, "、", -1.839, (7365, -2.403)), row(112, "ア", -1.604), row(241, "プ", -2.322)]
    return answer("、アプ�", [29917, 10391, 112, 11100, 241, 11100], rows)


def test_generated_ids_have_their_rows() -> None:
    """A row for each; counts, reason and what came of the cache as the server says them."""
    made = llama_server.parse_generation(plain())
    assert made.text == " Paris.\n"
    assert made.token_ids == (7042, 30, 198)
    assert made.scores is not None
    assert made.scores.target_logprobs.tolist() == [-0.259, -0.395, -1.001]
    assert made.scores.top_ids.tolist() == [[7042, 260], [30, 28], [198, -1]]
    assert np.array_equal(made.scores.top_logprobs[:2], [[-0.259, -2.765], [-0.395, -1.624]])
    assert (made.prompt_tokens, made.completion_tokens, made.finish_reason, made.cached_tokens) == (5, 3, "length", 4)


@pytest.mark.parametrize(("said", "meant"), [("eos", "stop"), ("word", "stop"), ("limit", "length"), ("none", None)])
def test_reasons_to_finish(said: str, meant: str | None) -> None:
    """In OpenAI's words."""
    assert llama_server.parse_generation({**plain(), "stop_type": said}).finish_reason == meant


def test_where_no_logprobs_were_asked_for_there_are_none() -> None:
    """All ids count then."""
    made = llama_server.parse_generation(answer("、アプ�", [29917, 10391, 112, 11100, 241, 11100], n_probs=0))
    assert (made.scores, made.token_ids) == (None, (29917, 10391, 112, 11100, 241, 11100))


def test_ids_count_up_to_the_first_that_has_no_row() -> None:
    """The server has none for an id after which its text ends within a character; the count stays the server's."""
    made = llama_server.parse_generation(japanese())
    assert made.token_ids == (29917,)
    assert made.scores is not None
    assert made.scores.target_logprobs.tolist() == [-1.839]
    assert (made.text, made.completion_tokens) == ("、アプ�", 6)


def test_the_last_id_may_have_no_row() -> None:
    """Nothing follows that could say so, but the text ends in what stands for half a character."""
    made = llama_server.parse_generation(answer("、�", [29917, 10391], [row(29917, "、", -1.839)]))
    assert made.token_ids == (29917,)


@pytest.mark.parametrize("rows", [None, [row(112, "ア", -1.604)]], ids=["half a character", "a character of two ids"])
def test_the_first_id_may_have_no_row(rows: list[Any] | None) -> None:
    """Then nothing can be compared: the answer counts as one that tells neither ids nor how many they are."""
    ids = [10391] if rows is None else [10391, 112]
    made = llama_server.parse_generation(answer("�" if rows is None else "ア", ids, rows))
    assert (made.token_ids, made.scores, made.completion_tokens) == (None, None, None)
    assert made.text


def test_who_generated_nothing_says_so() -> None:
    """Which is for the probes to judge."""
    made = llama_server.parse_generation(answer("", []))
    assert (made.token_ids, made.completion_tokens) == ((), 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.pop(), "scores 2 positions where 3 were asked for"),
        (lambda rows: rows.pop(0), "scores 2 positions where 3 were asked for"),
        (lambda rows: rows.append(rows[-1]), "scores 4 positions where 3 were asked for"),
        (lambda rows: rows[1].update(id=28), "its logprob at position 6 is of id 28, not of id 30"),
        (lambda rows: rows.reverse(), "its logprob at position 5 is of id 198, not of id 7042"),
        (lambda rows: rows.clear(), "scores 0 positions where 3 were asked for"),
    ],
)
def test_rows_that_lack_for_another_reason_are_a_fault(change: Any, words: str) -> None:
    """No text here ends within a character, so each id has its row."""
    bad = plain()
    change(bad["completion_probabilities"])
    with pytest.raises(EngineBrokeProtocol) as caught:
        llama_server.parse_generation(bad)
    assert str(caught.value) == words


def test_half_a_character_excuses_no_wrong_id() -> None:
    """As many rows as ids: each must be of its id."""
    bad = answer("、ア", [29917, 112], [row(29917, "、", -1.839), row(113, "ア", -1.604)])
    with pytest.raises(EngineBrokeProtocol, match="its logprob at position 6 is of id 113, not of id 112"):
        llama_server.parse_generation(bad)


@pytest.mark.parametrize("key", ["tokens", "content", "tokens_evaluated", "tokens_predicted", "stop_type", "timings"])
def test_what_is_no_such_answer_is_told_by_its_shape(key: str) -> None:
    """A parser raises KeyError or TypeError, which the client takes for the engine's."""
    bad = copy.deepcopy(plain())
    del bad[key]
    with pytest.raises(KeyError):
        llama_server.parse_generation(bad)


def test_a_stream_counts_and_lists_no_ids() -> None:
    """An event lists the last id of its text alone: this one's character is of two."""
    event = {"index": 0, "content": "ア", "tokens": [112], "stop": False, "tokens_predicted": 3, "tokens_evaluated": 37}
    chunk = llama_server.parse_chunk(event)
    assert (chunk.text, chunk.token_ids, chunk.completion_tokens, chunk.prompt_tokens) == ("ア", None, 3, 37)
    assert not chunk.finished
    last = llama_server.parse_chunk({**event, "content": "", "tokens": [], "stop": True, "stop_type": "limit"})
    assert last.finished


def test_a_greedy_request_names_no_sampler() -> None:
    """What it is asked, in the server's words; the cache is left as the server was launched."""
    asked = llama_server.generate(Ask(model="m", prompt=PROMPT, max_tokens=3, top_k=2, ignore_eos=True))
    assert asked.path == "/completion"
    assert asked.body == {
        "prompt": [504, 3575, 282, 4649, 314], "n_predict": 3, "n_probs": 2, "temperature": 0.0, "ignore_eos": True,
        "return_tokens": True, "stream": False,
    }  # fmt: skip


def test_a_sampling_request_cuts_nothing_off() -> None:
    """The server's own chain drops the unlikely before it draws."""
    body = llama_server.generate(Ask(model="m", prompt=PROMPT, max_tokens=3, temperature=0.7, seed=5)).body
    assert (body["temperature"], body["seed"], body["samplers"]) == (0.7, 5, ["temperature"])


def test_a_fresh_request_takes_nothing_from_the_cache() -> None:
    """The server knows no namespaces."""
    body = llama_server.generate(Ask(model="m", prompt=PROMPT, max_tokens=3, namespace="a", fresh=True)).body
    assert body["cache_prompt"] is False


def props() -> Any:
    return {"total_slots": 4, "model_path": "model.gguf", "build_info": "b0-unknown"}


def absent(path: str) -> Any:
    raise LookupError(path)


def test_its_build_is_its_version() -> None:
    """Of /props, which other engines do not have, or have with other keys."""
    assert llama_server.version(lambda path: props() if path == "/props" else absent(path)) == "b0-unknown"
    assert llama_server.version(absent) is None
    assert llama_server.version(lambda path: {"version": "0.32.0"}) is None


def words(config: Config, context_length: int = 8192) -> str:
    """The command as it is published."""
    model = msgspec.structs.replace(bench.CELL.model, id="small", context_length=context_length)
    spec = Launch(
        cell=msgspec.structs.replace(bench.CELL, model=model, config=config),
        environment=ENVIRONMENT,
        model_path=Path("/cache/model.gguf"),
        port=8911,
        shims=Path("/shims"),
    )
    return " ".join(spec.published(llama_server.command(spec)))


def test_as_users_start_it_nothing_is_said_of_attention_or_cache() -> None:
    """Only what it serves, where, and how much memory it may take."""
    shown = words(Config(id="default", description=""))
    assert shown == (
        "SHIMS/llama_server/serve.py --model MODEL --alias small --host 127.0.0.1 --port PORT --ctx-size 8192"
    )
    assert words(Config(id="default", description=""), context_length=512).endswith("--ctx-size 2048")


def test_for_parity_attention_is_plain_and_what_is_cached_is_not_rounded() -> None:
    """By itself it keeps keys and values in float16, and its fast attention computes in it."""
    config = Config(id="parity", description="", prefix_cache=False, flash_attention=False)
    exact = "--flash-attn off --cache-type-k f32 --cache-type-v f32"
    assert words(config).endswith(f" {exact} --no-cache-prompt")
    assert words(Config(id="c", description="", flash_attention=False)).endswith(f" {exact}")
    assert words(Config(id="c", description="", prefix_cache=False)).endswith(" 8192 --no-cache-prompt")


def test_weights_are_converted_in_the_engines_own_environment() -> None:
    """By the converter that its lock names, in the dtype that is asked for."""
    asked = Conversion(
        environment=ENVIRONMENT, checkpoint=Path("/model"), target=Path("/out.gguf"), dtype="bfloat16",
        shims=Path("/shims"),
    )  # fmt: skip
    program, converter, checkpoint, *options = llama_server.convert(asked)
    assert Path(program).relative_to("/shims").name == "convert.py"
    assert converter == "/environment/lib/python3.11/site-packages/convert_hf_to_gguf.py"
    assert (checkpoint, options) == ("/model", ["--outtype", "bf16", "--outfile", "/out.gguf"])


def test_all_that_runs_llama_cpps_code_is_of_one_lineage() -> None:
    """They may share a mistake, so their agreement clears nobody."""
    assert llama_server.ENGINE.lineage == llama_cpp_python.ENGINE.lineage == "llama.cpp"
