"""Write the hashed locks anew: `python -m runners.lock [NAME …]`, from each `.in` file and its overrides.

An override with a marker that never holds leaves a dependency out; the file says why for each.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from matrix.load import PACKAGED
from runners.environments import PYTHON, tool_environment

REQUIREMENTS = PACKAGED / "requirements"
HARNESS = PACKAGED.parent / "requirements-dev.txt"

PLATFORM = "x86_64-manylinux_2_28"
OTHER_PLATFORM = re.compile(r"^# platform: (\S+)$", re.M)
"""A line of an `.in` file whose wheels need a newer C library than the rest."""

# No index, path or annotation in the file: it must say the same wherever it was made.
PLAIN = (
    "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-find-links", "--no-emit-index-url",
    "--python-version", PYTHON,
)  # fmt: skip


def lock(source: Path) -> None:
    """Resolve one `.in` file into the `.txt` beside it."""
    overrides = source.with_suffix(".overrides.txt")
    more = ("--overrides", str(overrides)) if overrides.is_file() else ()
    other = OTHER_PLATFORM.search(source.read_text())
    platform = other[1] if other else PLATFORM
    target = source.with_suffix(".txt")
    _compile("--python-platform", platform, *more, str(source), "-o", str(target))


def _compile(*arguments: str) -> None:
    subprocess.run((find_uv_bin(), "pip", "compile", *PLAIN, *arguments), env=tool_environment(), check=True)


def main(names: list[str]) -> None:
    """Lock the named releases, or everything and the harness itself."""
    for source in sorted(REQUIREMENTS.glob("*.in")):
        if not names or source.stem in names:
            print(f"locking {source.stem}", flush=True)
            lock(source)
    if not names:
        project = PACKAGED.parent / "pyproject.toml"
        overrides = ("--overrides", str(HARNESS.with_suffix(".overrides.txt")))
        _compile("--universal", "--extra", "dev", *overrides, str(project), "-o", str(HARNESS))


if __name__ == "__main__":
    main(sys.argv[1:])
