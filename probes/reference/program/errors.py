"""What goes wrong that is not a fault of this program."""

from __future__ import annotations


class InputError(Exception):
    """What the caller gave cannot be used; the message is shown as it is, with exit status 2."""
