"""What streamed answers say about speed: the definitions behind every number of the throughput probe. Pure.

Of one answer, with t counted from the sending of its request:

- TTFT: t of the first event that carries a token.
- E2E: t of the last event that carries a token.
- TPOT: (E2E - TTFT) / tokens that came after the first event. With one token per event these are n - 1, as vLLM's
  benchmark has it; where a first event carries k tokens, n - k, since those k cost no time after TTFT.
- ITL per event: the gaps between events that carry tokens, which is what other tools call ITL. An event may hold
  several tokens under speculative decoding, so each gap is also spread over the tokens that ended it: ITL per token.

Of c answers whose requests were sent together: output tokens/s = all tokens generated / (last token - first sending),
total tokens/s the same with the prompts' tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matrix.cells import Record
from probes.client import Arrival


class Streamed(Record, frozen=True, kw_only=True):
    """One streamed answer; times in seconds from the sending of its request."""

    sent_s: float
    """When it was sent, on the clock of the round."""
    at_s: tuple[float, ...]
    """Of each event that carries a token."""
    tokens: tuple[int, ...]
    """Tokens of each of these events, where the stream says so; one each where it does not."""
    counted: bool
    """True where `tokens` are known and not assumed."""
    prompt_tokens: int | None
    usage_tokens: int | None
    """Generated tokens as the server's usage counts them."""
    id_tokens: int | None
    """Generated tokens as ids in the stream, where the engine sends ids."""

    @property
    def total(self) -> int | None:
        """Generated tokens: ids where there are ids, usage otherwise; None where the stream says neither."""
        return self.id_tokens if self.id_tokens is not None else self.usage_tokens

    @property
    def ttft_s(self) -> float | None:
        """Time to first token; None where none came."""
        return self.at_s[0] if self.at_s else None

    @property
    def end_s(self) -> float | None:
        """End-to-end latency; None where no token came."""
        return self.at_s[-1] if self.at_s else None

    @property
    def tpot_s(self) -> float | None:
        """Time per output token, those of the first event left out; None where all came at once or none are known."""
        if self.total is None or not self.at_s:
            return None
        later = self.total - self.tokens[0]
        return (self.at_s[-1] - self.at_s[0]) / later if later > 0 else None

    @property
    def gaps_s(self) -> npt.NDArray[np.float64]:
        """Between events: one less than there are events."""
        return np.diff(np.array(self.at_s))

    @property
    def token_gaps_s(self) -> npt.NDArray[np.float64]:
        """Between tokens, each event's gap spread over its tokens; empty where its tokens are not known."""
        if not self.counted:
            return np.empty(0)
        later = np.array(self.tokens[1:], dtype=np.int64)
        return np.repeat(self.gaps_s / np.maximum(later, 1), later)


def streamed(arrivals: Sequence[Arrival], sent_s: float = 0.0) -> Streamed:
    """Read one answer's events, told apart by their ids, else by the running usage, else by their text."""
    ids = [a.chunk.token_ids for a in arrivals if a.chunk.token_ids is not None]
    by_ids = [(a.at_s, len(a.chunk.token_ids)) for a in arrivals if a.chunk.token_ids]
    found = by_ids or _by_usage(arrivals)
    texts = [a.at_s for a in arrivals if a.chunk.text]
    return Streamed(
        sent_s=sent_s,
        at_s=tuple(at_s for at_s, _ in found) if found else tuple(texts),
        tokens=tuple(tokens for _, tokens in found) if found else (1,) * len(texts),
        counted=bool(found),
        prompt_tokens=_last([a.chunk.prompt_tokens for a in arrivals]),
        usage_tokens=_last([a.chunk.completion_tokens for a in arrivals]),
        id_tokens=sum(map(len, ids)) if ids else None,
    )


def _by_usage(arrivals: Sequence[Arrival]) -> list[tuple[float, int]]:
    """What the running usage grew by at each event; nothing where it is said at the end alone."""
    counts = [a.chunk.completion_tokens for a in arrivals]
    if any(count is None and a.chunk.text for count, a in zip(counts, arrivals, strict=True)):
        return []
    found, before = [], 0
    for arrival, count in zip(arrivals, counts, strict=True):
        if count is not None and count > before:
            found.append((arrival.at_s, count - before))
            before = count
    return found


def _last(counts: Sequence[int | None]) -> int | None:
    said = [count for count in counts if count is not None]
    return said[-1] if said else None
