"""What the token server really did, and the metrics that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from matrix.cells import Record


class Answer:
    """One answer while it is sent."""

    def __init__(self, *, first_id: int, prompt_tokens: int, wanted: int, read_ns: int) -> None:
        self.first_id = first_id
        self.prompt_tokens = prompt_tokens
        self.wanted = wanted
        self.read_ns = read_ns
        self._sent_ns: list[int] = []
        self._tokens: list[int] = []

    def sent(self, at_ns: int, tokens: int) -> None:
        """An event goes out."""
        self._sent_ns.append(at_ns)
        self._tokens.append(tokens)

    @property
    def total(self) -> int:
        """Tokens sent so far."""
        return sum(self._tokens)

    def written(self) -> dict[str, Any]:
        """As the log says it."""
        return {
            "first_id": self.first_id,
            "read_ns": self.read_ns,
            "sent_ns": self._sent_ns,
            "tokens": self._tokens,
        }


class Sent(Record, frozen=True, kw_only=True):
    """One answer as the log tells it; times in nanoseconds of the monotonic clock."""

    first_id: int
    """The first id of its prompt, by which a client that draws them knows it again; -1 where it sent text."""
    read_ns: int
    sent_ns: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def ttft_s(self) -> float:
        """From reading the request to sending the first token."""
        return (self.sent_ns[0] - self.read_ns) / 1e9

    @property
    def tpot_s(self) -> float:
        """Seconds per token that came after those of the first event."""
        return (self.sent_ns[-1] - self.sent_ns[0]) / 1e9 / (sum(self.tokens) - self.tokens[0])

    @property
    def end_s(self) -> float:
        """From reading the request to sending the last token."""
        return (self.sent_ns[-1] - self.read_ns) / 1e9

    @property
    def gaps_s(self) -> list[float]:
        """Between events."""
        return [(after - before) / 1e9 for before, after in zip(self.sent_ns, self.sent_ns[1:], strict=False)]


class Truth(Record, frozen=True, kw_only=True):
    """The metrics of some answers that were sent at once; times in seconds."""

    output_tokens_per_s: float
    """All tokens over the time from the first request to the last token."""
    ttft_s: float
    """Medians over answers, this and those below."""
    tpot_s: float
    itl_s: float
    """Median over all gaps between events."""
    end_s: float
    tokens: int


def truth(answers: Sequence[Sent]) -> Truth:
    """What an exact client would report; raises ValueError where nothing was sent."""
    if not answers:
        raise ValueError("the token server has sent nothing")
    seconds = (max(a.sent_ns[-1] for a in answers) - min(a.read_ns for a in answers)) / 1e9
    tokens = sum(sum(a.tokens) for a in answers)
    return Truth(
        output_tokens_per_s=tokens / seconds,
        ttft_s=float(np.median([a.ttft_s for a in answers])),
        tpot_s=float(np.median([a.tpot_s for a in answers])),
        itl_s=float(np.median([gap for a in answers for gap in a.gaps_s])),
        end_s=float(np.median([a.end_s for a in answers])),
        tokens=tokens,
    )
