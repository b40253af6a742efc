"""A tokenizer of one character a token: any text of printable ASCII gives its ids back, whatever a model generates.

Byte-level BPE, which every engine and the GGUF converter read. It has a single merge, of two control characters, since
a list without any is taken for a broken file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SIZE = 127
"""One less than the model has rows: an id at the very end is where engines' own sentinels lie (SGLang 0.5.23 reports
the last one of a vocabulary as id 0)."""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", *(f"<media{number}>" for number in range(12)))
FIRST_PRINTABLE, LAST_PRINTABLE = 0x20, 0x7E


def vocabulary() -> dict[str, int]:
    """Tokens in the byte-level alphabet by id: special ones, printable characters, a few control characters."""
    alphabet = dict(zip(_bytes(), _characters(), strict=True))
    plain = [alphabet[byte] for byte in range(FIRST_PRINTABLE, LAST_PRINTABLE + 1)]
    control = [alphabet[byte] for byte in range(0x20) if byte != 0x0A][: SIZE - len(SPECIAL) - len(plain) - 2]
    pair = control[0] + control[1]
    words = [*SPECIAL, *plain, alphabet[0x0A], *control, pair]
    return {word: number for number, word in enumerate(words)}


def _bytes() -> list[int]:
    """GPT-2's order of bytes: those with a printable character of their own first."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return own + [byte for byte in range(256) if byte not in own]


def _characters() -> list[str]:
    """The character that stands for each of those bytes in GPT-2's alphabet."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in own] + [chr(256 + number) for number in range(256 - len(own))]


def write(folder: Path, longest: int, media: Mapping[str, str]) -> None:
    """tokenizer.json and tokenizer_config.json; `media` names some of the special tokens for processors."""
    words = vocabulary()
    assert len(words) == SIZE
    last = max(words, key=words.__getitem__)
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[(last[0], last[1])]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": longest,
    }
    if media:
        settings["extra_special_tokens"] = dict(media)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
