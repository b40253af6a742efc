"""What several mutants generated, scored by the reference in one call.

Loading the model anew for each of the reference's ways costs more than scoring a few sequences. So the measurements of
some mutants run side by side, each in a thread: one after another asks the server, and where a measurement asks the
reference, it waits until all have come there. Each gets the rows of its own sequences, with the noise of these alone.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from matrix.results import Table
from probes.reference.stage import Reference

T = TypeVar("T")


class Asked(NamedTuple):
    """What one measurement wants scored."""

    token_ids: list[list[int]]
    prompt_lengths: list[int]


Score = Callable[[Asked], Table]


class Gathering:
    """Measurements that wait for each other before the reference."""

    def __init__(self, score: Score, parties: int) -> None:
        self._score = score
        self._parties = parties
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._asked: dict[int, Asked] = {}
        self._table: Table | None = None
        self._error: BaseException | None = None

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Do all jobs; an exception of one is its result."""
        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(self._one, jobs))

    def _one(self, job: Callable[[], T]) -> T | Exception:
        self._turn.acquire()
        before = threading.get_ident()
        try:
            return job()
        except Exception as error:
            if before not in self._asked:
                self._leave()
            return error

    def _leave(self) -> None:
        self._turn.release()
        with self._changed:
            self._parties -= 1
            self._changed.notify_all()

    def score(self, asked: Asked) -> Table:
        """Called within a job: the rows of what it asks for, once all others have asked too."""
        self._turn.release()
        own = threading.get_ident()
        with self._changed:
            self._asked[own] = asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._asked) == self._parties)
            if self._table is None and self._error is None:
                self._all()
            if self._error is not None:
                raise self._error
            assert self._table is not None
            return rows_of(self._table, self._start(own), len(asked.token_ids))

    def _all(self) -> None:
        asked = list(self._asked.values())
        ids = [sequence for one in asked for sequence in one.token_ids]
        try:
            self._table = self._score(Asked(ids, [length for one in asked for length in one.prompt_lengths]))
        except Exception as error:
            self._error = error

    def _start(self, own: int) -> int:
        start = 0
        for thread, asked in self._asked.items():
            if thread == own:
                return start
            start += len(asked.token_ids)
        raise LookupError(own)


def rows_of(table: Table, start: int, count: int) -> Table:
    """A part of the sequences of a reference's table, as wide as the longest of them."""
    longest = int(table["lengths"][start : start + count].max())
    part: Table = {}
    for name, array in table.items():
        if array.ndim == 0:
            part[name] = array
            continue
        rows = array[start : start + count]
        width = longest if name == "token_ids" else longest - 1
        part[name] = rows if rows.ndim == 1 else rows[:, :width]
    return part


class Shared(Reference, frozen=True, kw_only=True):
    """The reference, whose scores of generated sequences are asked for together and kept nowhere."""

    gathering: Gathering

    def score(self, token_ids: Sequence[Sequence[int]], prompt_lengths: Sequence[int]) -> Table:
        return self.gathering.score(Asked([list(map(int, ids)) for ids in token_ids], list(prompt_lengths)))


def scorer(reference: Reference) -> Score:
    """The reference's own scoring, without its cache: nobody asks for a mutant's text again."""

    def score(asked: Asked) -> Table:
        with tempfile.TemporaryDirectory() as folder:
            target, ids = Path(folder) / "table.npz", Path(folder) / "ids.json"
            ids.write_text(json.dumps(asked._asdict()))
            reference._run(Path(folder), "score", "--ids", str(ids), "--dtype", reference.dtype)
            with np.load(target, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}

    return score
