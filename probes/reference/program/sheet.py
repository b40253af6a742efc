"""What is written down of each token, the arrays of a run, and the file that they go into."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Ids = list[int]
Arrays = dict[str, np.ndarray[Any, Any]]

FIELDS = ("target_logprobs", "logsumexp", "top_ids", "top_logprobs")


class Sheet:
    """Arrays of one replicate, filled position by position; column n belongs to token n + 1."""

    def __init__(self, sequences: Sequence[Ids], top_k: int) -> None:
        self.sequences = sequences
        self.lengths = np.array([len(ids) for ids in sequences])
        columns = int(self.lengths.max()) - 1
        shape = (len(sequences), columns)
        self.top_k = top_k
        self.target_logprobs = np.full(shape, np.nan, np.float32)
        self.logsumexp = np.full(shape, np.nan, np.float32)
        self.top_ids = np.full((*shape, top_k), -1, np.int32)
        self.top_logprobs = np.full((*shape, top_k), np.nan, np.float32)

    def write(self, rows: Sequence[int], columns: Sequence[int], logits: Any) -> None:
        """Record logits [n, vocabulary]; the n-th predicts token columns[n] + 1 of sequence rows[n]."""
        if not rows:
            return
        # log-softmax in float32 whatever the model's dtype, as engines do: in bfloat16 it would round the
        # logprobs themselves to 1/256 and hide the noise of the forward pass behind that of the reporting.
        values = logits.float()
        total = torch.logsumexp(values, dim=-1)
        targets = torch.tensor([self.sequences[r][c + 1] for r, c in zip(rows, columns, strict=True)])
        best = torch.topk(values, self.top_k, dim=-1)
        where = (np.asarray(rows), np.asarray(columns))
        self.target_logprobs[where] = (values.gather(1, targets[:, None])[:, 0] - total).numpy()
        self.logsumexp[where] = total.numpy()
        self.top_ids[where] = best.indices.numpy()
        self.top_logprobs[where] = (best.values - total[:, None]).numpy()

    def write_run(self, row: int, first: int, logits: Any) -> None:
        """Record consecutive logits [n, vocabulary] of one sequence; the first follows token `first`."""
        count = min(len(logits), int(self.lengths[row]) - 1 - first)
        if count > 0:
            self.write([row] * count, range(first, first + count), logits[:count])

    def arrays(self, name: str) -> Arrays:
        """The filled arrays under the replicate's name."""
        return {f"{name}/{field}": getattr(self, field) for field in FIELDS}


def given(sequences: list[Ids], prompt_lengths: list[int], domains: list[str]) -> Arrays:
    """What was scored: ids, lengths, prompts' lengths and domains, as arrays."""
    return {
        "token_ids": padded_ids(sequences),
        "lengths": np.array([len(ids) for ids in sequences], np.int32),
        "prompt_lengths": np.array(prompt_lengths, np.int32),
        "domain": np.array(domains),
    }


def padded_ids(sequences: Sequence[Ids]) -> np.ndarray[Any, Any]:
    """Sequences as one array [S, longest], -1 beyond each one's end."""
    array = np.full((len(sequences), max(len(ids) for ids in sequences)), -1, np.int32)
    for row, ids in enumerate(sequences):
        array[row, : len(ids)] = ids
    return array


def save(path: Path, arrays: Arrays) -> None:
    """Write the arrays whole or not at all: a reader must never meet half a reference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # taken for its flag, which no array's name is
        os.chmod(temporary, 0o644)  # mkstemp makes it private; the harness may run as another user
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
