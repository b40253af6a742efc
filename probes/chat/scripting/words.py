"""The tokenizer of a scripted checkpoint, and its scripts as steps from token to token.

Byte-level BPE: every byte is a token, so any prompt can be written; each piece of a script is one more, which no merge
leads to, so no prompt holds it. Triggers and markers are added tokens. Standalone: imports nothing of this project.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

Pair = tuple[int, int]
"""The latest token that has a stage, and the current one."""

LENGTHS = (3, 4, 2, 5, 6, 7, 8, 9, 10, 11, 12, 1)
"""Bytes of a piece, in the order in which they are tried; one byte is a token of the alphabet, and no piece."""
MULTIPLE = 64
"""Neurons and rows: engines split them evenly."""

GENERATION_PROMPT_ENDS = "\n"

SILENCE = "(silence)"
"""The first id, and so what all ids being alike gives: what the model says where no script is asked for."""


def trigger(number: int) -> str:
    """The word that asks for a script."""
    return f"<|script-{number}|>"


@dataclass
class Table:
    """Scripts as a model needs them."""

    bos: int
    eos: int
    other_eos: int
    rows: int = 0
    stages: dict[int, int] = field(default_factory=dict)
    """Of triggers and pieces."""
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    """(latest token with a stage, current token, next token)"""
    scripts: list[tuple[int, list[int]]] = field(default_factory=list)
    """Trigger and tokens, the end included."""

    @property
    def neurons(self) -> int:
        """Of the MLP."""
        return -(-len(self.steps) // MULTIPLE) * MULTIPLE


class Vocabulary:
    """Words by id: those that are added, the bytes, and the pieces as they are needed."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.special = [told["eos"], told["bos"], told["other_eos"], *told["special"]]
        self.plain = [SILENCE, *told["plain"], *map(trigger, range(len(told["script"])))]
        self.alphabet = _alphabet()
        self.ids: dict[str, int] = {}
        for word in (*self.plain, *self.special, *self.alphabet):
            self.ids[word] = len(self.ids)
        self.merge = (self.alphabet[1], self.alphabet[2])  # two control characters: a list without any looks broken
        self.ids["".join(self.merge)] = len(self.ids)

    def word(self, data: bytes) -> str:
        """Bytes in the byte-level alphabet."""
        return "".join(self.alphabet[byte] for byte in data)

    def cut(self, parts: list[bytes | str], latest: int, current: int, seen: frozenset[Pair]) -> list[int] | None:
        """Tokens of what is left of a script: markers, pieces that are new, and single bytes, so that no two tokens
        follow the same pair of latest and current one; None where there is no such way to cut it."""
        if not parts:
            return None if (latest, current) in seen else []
        if (latest, current) in seen:
            return None
        seen |= {(latest, current)}
        first, *others = parts
        if isinstance(first, str):
            return self._after(self.ids[first], others, latest, seen)
        for length in LENGTHS:
            word, left = self.word(first[:length]), first[length:]
            rest = [left, *others] if left else others
            if length > len(first) or (length > 1 and word in self.ids):
                continue
            if length == 1:
                found = self._after(self.ids[word], rest, latest, seen)
            else:
                self.ids[word] = new = len(self.ids)
                found = self._after(new, rest, new, seen)
                if found is None:
                    del self.ids[word]
            if found is not None:
                return found
        return None

    def _after(self, token: int, rest: list[bytes | str], latest: int, seen: frozenset[Pair]) -> list[int] | None:
        found = self.cut(rest, latest, token, seen)
        return None if found is None else [token, *found]


def _alphabet() -> list[str]:
    """GPT-2's character for each byte: its own where it is printable, another where it is not."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def table_of(told: dict[str, Any], words: Vocabulary) -> Table:
    """Every script cut into tokens, with the steps between them; ValueError where one cannot be cut."""
    bos, eos, other_eos = (words.ids[told[name]] for name in ("bos", "eos", "other_eos"))
    table = Table(bos=bos, eos=eos, other_eos=other_eos)
    markers = re.compile(f"({'|'.join(map(re.escape, told['plain'])) or '(?!)'})")  # without any, nothing is cut there
    pieces_from = len(words.ids)
    line_end = words.ids[words.word(GENERATION_PROMPT_ENDS.encode())]
    for number, script in enumerate(told["script"]):
        parts = [part if part in told["plain"] else part.encode() for part in markers.split(script["says"]) if part]
        start = words.ids[trigger(number)]
        tokens = words.cut(parts, start, line_end, frozenset())
        if tokens is None:
            raise ValueError(f"{script['name']}: cannot be cut so that each token has one that follows")
        tokens.append(words.ids[script.get("ends_with", told["eos"])])
        table.scripts.append((start, tokens))
        table.stages[start] = 1
        latest, current = start, line_end
        for token in tokens:
            table.steps.append((latest, current, token))
            current = token
            if token >= pieces_from:
                table.stages[token] = table.stages[latest] + 1
                latest = token
    table.rows = -(-(len(words.ids) + 1) // MULTIPLE) * MULTIPLE
    return table


def write(folder: Path, told: dict[str, Any], template: str, longest: int) -> Table:
    """tokenizer.json, tokenizer_config.json and the chat template; the scripts in their tokens."""
    words = Vocabulary(told)
    table = table_of(told, words)
    tokenizer = Tokenizer(models.BPE(vocab=words.ids, merges=[words.merge]))
    # As the published tokenizers of this family do, and as transformers' class for it does whatever the file says.
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words.special])
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in words.plain])
    # By itself it puts the BOS in front that the template has, too: who does not take care doubles it.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{told['bos']} $A", pair=None, special_tokens=[(told["bos"], table.bos)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": told["bos"],
        "eos_token": told["eos"],
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": longest,
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    return table
