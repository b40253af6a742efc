"""A model's reference with its replicates, and the part of them by which a set of sequences is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probes import noise_floor
from probes.noise_floor import Flags, Ints, RatioVerdict, TokenLogprobs
from tests.benchmarks.verdict import rules


class Part(NamedTuple):
    """What some sequences are judged by."""

    reference: TokenLogprobs
    replicates: dict[str, TokenLogprobs]
    counted: Flags

    def judge(
        self, run: TokenLogprobs, k: int, int8_ratio: float | None, controls: Sequence[float] = ()
    ) -> RatioVerdict:
        """The verdict on what a run says of these very sequences."""
        return noise_floor.judge_ratio(
            self.reference, self.replicates, run, counted=self.counted, k=k, int8_ratio=int8_ratio, controls=controls
        )

    @property
    def seen_once(self) -> TokenLogprobs:
        """The reference with the positions that count."""
        return noise_floor.restrict(self.reference, self.counted)


class Family(NamedTuple):
    """All sequences of a model, or of a stratum."""

    token_ids: Ints
    reference: TokenLogprobs
    replicates: dict[str, TokenLogprobs]

    def part(self, rows: Sequence[int]) -> Part:
        """Of some sequences, in the order given: a beginning that several share counts in the first of them."""
        reference = rules.chosen(self.reference, rows)
        return Part(
            reference=reference,
            replicates={name: rules.chosen(run, rows) for name, run in self.replicates.items()},
            counted=noise_floor.first_seen(np.asarray(self.token_ids)[list(rows)], reference),
        )
