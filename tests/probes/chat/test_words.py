"""Scripts as steps from token to token: what a scripted checkpoint is made of."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from probes.chat import formats, scripted

TOLD = tomllib.loads((formats.FOLDER / "hermes" / "scripts.toml").read_text())


def _words() -> ModuleType:
    found = importlib.util.spec_from_file_location("scripting_words", scripted.PROGRAM / "words.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


WORDS = _words()


def said(vocabulary: Any, tokens: list[int]) -> str:
    """The text of tokens."""
    by_id = {number: word for word, number in vocabulary.ids.items()}
    of_byte = {character: byte for byte, character in enumerate(vocabulary.alphabet)}
    whole = b""
    for token in tokens:
        word = by_id[token]
        plain = word in vocabulary.plain or word in vocabulary.special
        whole += word.encode() if plain else bytes(of_byte[character] for character in word)
    return whole.decode()


def test_every_script_is_cut_into_tokens_that_say_it() -> None:
    """To the letter, and then its end."""
    vocabulary = WORDS.Vocabulary(TOLD)
    table = WORDS.table_of(TOLD, vocabulary)
    for script, (_, tokens) in zip(TOLD["script"], table.scripts, strict=True):
        assert said(vocabulary, tokens) == script["says"] + script.get("ends_with", TOLD["eos"])


def test_a_format_without_markers_is_cut_as_well() -> None:
    """Then every script is text alone."""
    told = {**TOLD, "plain": [], "script": [{"says": "It is raining in Oslo, and cold."}]}
    vocabulary = WORDS.Vocabulary(told)
    ((_, tokens),) = WORDS.table_of(told, vocabulary).scripts
    assert said(vocabulary, tokens) == f"It is raining in Oslo, and cold.{TOLD['eos']}"


def test_who_asks_for_a_script_and_who_says_it_spell_its_trigger_alike() -> None:
    """The program that makes the checkpoint imports nothing of ours, so the word is written down twice."""
    assert [WORDS.trigger(number) for number in (0, 14)] == [formats.trigger(number) for number in (0, 14)]


def test_no_two_tokens_follow_the_same_pair() -> None:
    """So what comes next is never in doubt; a piece has one stage more than the piece before it."""
    table = WORDS.table_of(TOLD, WORDS.Vocabulary(TOLD))
    pairs = [(latest, current) for latest, current, _ in table.steps]
    assert len(set(pairs)) == len(pairs)
    for latest, _, following in table.steps:
        if following in table.stages:
            assert table.stages[following] == table.stages[latest] + 1


@given(st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=6, max_size=60))
def test_any_text_of_some_length_can_be_said(text: str) -> None:
    """Whatever its characters; repetition needs longer pieces, so a short text that repeats itself may be refused."""
    vocabulary = WORDS.Vocabulary({**TOLD, "script": []})
    start, line_end = vocabulary.ids[TOLD["bos"]], vocabulary.ids[vocabulary.word(b"\n")]
    tokens = vocabulary.cut([text.encode()], start, line_end, frozenset())
    if tokens is None:
        assert len(set(text)) < len(text)
    else:
        assert said(vocabulary, tokens) == text
