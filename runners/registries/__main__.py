"""The front door; run as a folder, so its modules are loaded as a package under a name that no engine has."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import sys
from pathlib import Path

NAME = "readiness_registries"


def main(module: str, source: str = "") -> None:
    """Print what one engine claims."""
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    found = importlib.import_module(f"{NAME}.{module}").claimed(source)
    print(json.dumps(dataclasses.asdict(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
