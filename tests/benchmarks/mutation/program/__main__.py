"""Run as a folder, by its path: makes a package of it, so that its modules know each other."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

NAME = "mutation_program"


def main(words: Sequence[str]) -> None:
    """Serve; the first word is the folder of the reference program, whose loading and ways are used."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    runpy.run_path(str(Path(words[0]) / "__main__.py"))["command"]()
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    importlib.import_module(f"{NAME}.serving").main(words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
