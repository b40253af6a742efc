"""What is written down of each mutant, and of each checkpoint."""

from __future__ import annotations

from typing import Literal

from matrix.cells import Record

Outcome = Literal["killed", "undecided", "below the floor", "equivalent", "hole", "unfit"]
"""killed        FAIL
undecided     neither PASS nor FAIL
below floor   PASS, and no further from the right numbers than a FAIL begins
equivalent    no FAIL, and identical in float64 for a known reason
hole          PASS though further off than that, or identical in float64 and nobody knows why
unfit         the changed model does not run: no mutant, and counted nowhere
"""


class Told(Record, frozen=True, kw_only=True):
    """A mutant as the program tells of it."""

    operator: str
    group: str
    site: str
    null: bool
    same: str
    chunk: int
    """Tokens of a prompt computed together."""
    path: int
    """By which sums are cut in parts."""


class Stratum(Record, frozen=True, kw_only=True):
    """How far a mutant lies from the reference in one stratum."""

    times: float
    """Times the noise floor, by RMS or by the largest difference, whichever is more."""
    largest: float
    """Nats."""
    noise_largest: float
    misses: float
    nonfinite: float


class Judged(Record, frozen=True, kw_only=True):
    """A mutant, or a null twin, and what the probe said of it."""

    told: Told
    status: str
    """The verdict's; `UNFIT` where the changed model does not run."""
    reason: str
    strata: dict[str, Stratum] = {}
    rules: dict[str, bool] = {}
    """Which of the rules that others use reject it."""
    digest: str = ""
    """Of all numbers that it gave: equal ones are one and the same unit."""
    relative: float | None = None
    """Of survivors: largest difference of float64 logits from the right ones, by the largest logit."""
    nats: float | None = None
    """The same in nats of logprobs."""
    seconds: float

    @property
    def times(self) -> float:
        """In the stratum where it stands out most."""
        return max((stratum.times for stratum in self.strata.values()), default=0.0)

    @property
    def name(self) -> str:
        """In a list."""
        return f"{self.told.operator}: {self.told.site}"


class JudgedCheckpoint(Record, frozen=True, kw_only=True):
    """All mutants of one checkpoint."""

    recipe: str
    architecture: str
    digest: str
    """Of everything that the judgement depends on: other sources, other results."""
    transformers: str
    judged: tuple[Judged, ...]
    seconds: float
