"""The small tokenizer: any text of printable characters gives its ids back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from probes.checkpoints.program import tokenizer
from probes.checkpoints.sizes import VOCABULARY


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.write(folder, 1024, {})
    return folder


def test_it_has_one_token_less_than_a_model_has_rows(written: Path) -> None:
    """The last row of a model belongs to no text."""
    assert Tokenizer.from_file(str(written / "tokenizer.json")).get_vocab_size() == VOCABULARY - 1
    assert json.loads((written / "tokenizer_config.json").read_text())["eos_token"] == "</s>"


@given(ids=st.lists(st.integers(len(tokenizer.SPECIAL), len(tokenizer.SPECIAL) + 94), max_size=200))
def test_generated_characters_are_read_back_as_they_were(written: Path, ids: list[int]) -> None:
    """An engine that gives text alone can be judged by it."""
    known = Tokenizer.from_file(str(written / "tokenizer.json"))
    text = known.decode(ids, skip_special_tokens=False)
    assert len(text) == len(ids)
    assert known.encode(text, add_special_tokens=False).ids == ids
