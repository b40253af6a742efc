"""What the checks of a chat route say of what came back, where no server can be made to answer so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from probes.chat.checks import rendering
from probes.chat.conversations import CONVERSATIONS
from probes.chat.exchange import Exchange, Protocol
from probes.chat.renders import Rendered, Renders
from runners.chat import Reply


@dataclass(kw_only=True)
class Asked:
    """A conversation, what its template gives, and what a server made of it."""

    bos: int
    given: tuple[int, ...]
    found: tuple[int, ...]

    def faults(self) -> list[str]:
        ways = (Rendered(text="", ids=self.given),)
        renders = Renders(templated=True, bos=self.bos, stops=(), rendered=(ways,) * len(CONVERSATIONS))
        one = Exchange(name=CONVERSATIONS[0].name, reply=Reply(prompt_ids=self.found))
        return list(rendering(Protocol(renders=renders, conversations=(one,), cut=one, whole=(one,), streamed=(one,))))


@pytest.mark.parametrize("bos", [0, 7])
def test_a_doubled_bos_is_told_by_its_name_whatever_its_id(bos: int) -> None:
    """The first row of a vocabulary is a usual place for it."""
    said = ["one question: its prompt has 2 BOS where the template gives 1"]
    assert Asked(bos=bos, given=(bos, 5, 6), found=(bos, bos, 5, 6)).faults() == said
    assert Asked(bos=bos, given=(bos, 5, 6), found=(bos, 5, 6)).faults() == []
