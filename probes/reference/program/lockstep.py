"""Many forward passes through one model, kept in step so that each part of it is needed only once.

The model's own code runs unchanged, once for each sequence, each time in a greenlet of its own. Where it enters a
*gate* (a decoder layer, an embedding), it stops until all the others have come there too; then that part's weights are
brought, all go through it one after another, and the weights are let go. What happens between the gates is the model's
business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

Job = Callable[[], None]


class Gate(Protocol):
    """A part of a model that is entered together."""

    def enter(self, calls: Sequence[Call]) -> None:
        """Answer every call, in order; called when nobody is on the way to this gate any more."""


class Call:
    """One pass that stands before a gate with the arguments that it brought."""

    def __init__(self, gate: Gate, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.gate = gate
        self.number = number
        """Of the pass, counted from 0."""
        self.args, self.kwargs = args, kwargs
        self.passing: Any = getcurrent()
        self.next: Call | None = None
        """Where the same pass stands after this call was answered; None at its end."""

    def answer(self, value: Any) -> None:
        """Let the pass go on with what the gate's part gave, up to the next gate or to its end."""
        self.next = self.passing.switch(value)


def together(jobs: Sequence[Job]) -> None:
    """Do all jobs, each a forward pass that ends by itself; what one of them raises ends them all."""
    standing = [call for number, job in enumerate(jobs) if (call := _Pass(job, number).switch()) is not None]
    while standing:
        gate = standing[0].gate
        here = [call for call in standing if call.gate is gate]
        gate.enter(here)
        standing = [step for call in standing if (step := call.next if call.gate is gate else call) is not None]


class _Pass(greenlet):  # type: ignore[misc]  # a library without types
    """A forward pass that knows its number."""

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(run=job)
        self.number = number


def stop_at(gate: Gate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Called within a pass: wait before the gate, and come back with what it answers."""
    current = getcurrent()
    return current.parent.switch(Call(gate, current.number, args, kwargs))


def in_step() -> bool:
    """Whether the caller is within a pass that `together` started."""
    return isinstance(getcurrent(), _Pass)


def pass_number() -> int:
    """Of the pass that the caller is within; 0 outside of any."""
    return int(getattr(getcurrent(), "number", 0))
