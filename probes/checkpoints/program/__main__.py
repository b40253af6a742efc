"""Run as a folder, by its path: makes a package of it, so that its modules know each other."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

NAME = "checkpoint_program"


def command() -> Callable[[Sequence[str]], int]:
    """The program as a function of its arguments, which returns its exit status."""
    # The model is a folder on this disk; a hub that is down or asks for a token must not matter.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"{NAME}.commands").main
    return main


if __name__ == "__main__":
    sys.exit(command()(sys.argv[1:]))
