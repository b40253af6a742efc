"""What can go wrong, named by who is to blame; `runners.failure.status_of` turns these into statuses."""

from __future__ import annotations


class ReadinessError(Exception):
    """Base of every error that this project raises on purpose."""


class WrongInput(ReadinessError):
    """The user's tables, options or files are wrong; nothing was started (exit status 2)."""


class Infrastructure(ReadinessError):
    """Our doing or the machine's: registry, hub, disk, daemon, a bug of ours."""


class ModuleUnread(Infrastructure):
    """The engine knows the class by a module that its environment cannot import: nothing shows whose fault that is."""


class EngineCrashed(ReadinessError):
    """The engine ended or broke, and its own words or its own signal are the evidence."""


ARCHITECTURE_UNKNOWN = "does not know the architecture"
"""How the sentence about such an engine begins."""


class ArchitectureUnknown(ReadinessError):
    """The engine says that it does not know the model's architecture."""


class EngineTimedOut(ReadinessError):
    """The engine is alive but was not ready, or did not answer, by the deadline."""


class EngineBrokeProtocol(ReadinessError):
    """The engine answered, and the answer breaks what its own API promises."""


class NonFiniteAnswer(EngineBrokeProtocol):
    """The engine could not even send its logprobs, because they are not finite."""


class NeedsNetwork(ReadinessError):
    """The engine wants the network although its model is local."""


class PrerequisiteNotMet(ReadinessError):
    """A probe cannot run because of what came before it."""


class NotSupported(ReadinessError):
    """The engine's file states that it cannot be asked this; the message says why."""
