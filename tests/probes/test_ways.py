"""Random prompts for an engine that takes text: their text must give their ids back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from probes.ways import retokenized, words_of

TEXT = ["the cat sat on the mat, and the dog ate 42 hats", "a hat that sat on the cat ate the dog"] * 8


def trained(space: str) -> Tokenizer:
    """A small BPE tokenizer whose words begin with the usual mark of byte-level or of SentencePiece models."""
    tokenizer = Tokenizer(models.BPE())
    if space == "byte-level":
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(special_tokens=["<s>"], show_progress=False))
    return tokenizer


BYTES, PIECES = trained("byte-level"), trained("metaspace")


def test_words_are_what_no_neighbour_can_merge_with() -> None:
    """Not digits, marks, parts of words, or the special token."""
    texts = {BYTES.decode([one], skip_special_tokens=False) for one in words_of(BYTES, range(BYTES.get_vocab_size()))}
    assert {" the", " cat"} <= texts
    assert texts.isdisjoint({"<s>", "the", "at", ",", " 42", " "})


@pytest.mark.parametrize("tokenizer", [BYTES, PIECES], ids=["byte-level", "metaspace"])
def test_any_row_of_words_gives_its_ids_back(tokenizer: Tokenizer) -> None:
    """However they follow each other."""
    words = words_of(tokenizer, range(tokenizer.get_vocab_size()))

    @given(st.lists(st.sampled_from(words), min_size=1, max_size=64))
    def gives_back(ids: list[int]) -> None:
        assert retokenized(tokenizer, ids) == tuple(ids)

    gives_back()


def test_a_tokenizer_without_spaces_has_no_words() -> None:
    """Then every id is drawn from, and prompts that do not survive are left out."""
    bare = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    bare.decoder = decoders.Fuse()
    assert words_of(bare, range(2)) == []
