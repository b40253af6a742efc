"""Write the hashed locks anew: `python -m runners.lock [NAME …]`, from each `.in` file and its overrides.

An override with a marker that never holds leaves a dependency out; the file says why for each.
"""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from matrix.errors import Infrastructure
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

PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?P<extras>\[[\w,.-]+\])?==(?P<version>[^\s;#]+)", re.M)
"""A requirement that names one version."""

NO_LIMIT = dt.date(9999, 1, 1)
"""After every release: what a file pins by name may be newer than the rest."""


def lock(source: Path, *, as_of: dt.date | None = None) -> None:
    """Resolve one `.in` file into the `.txt` beside it; raises Infrastructure with the resolver's last words.

    `as_of`: with what the index had at the end of that day (UTC), but for what the files pin by name.
    """
    overrides = source.with_suffix(".overrides.txt")
    more = ["--overrides", str(overrides)] if overrides.is_file() else []
    if as_of is not None:
        pinned = "\n".join(path.read_text() for path in (source, overrides) if path.is_file())
        more += ["--exclude-newer", str(as_of + dt.timedelta(days=1))]
        for name in sorted({pin["name"] for pin in PIN.finditer(pinned)}):
            more += ["--exclude-newer-package", f"{name}={NO_LIMIT}"]
    other = OTHER_PLATFORM.search(source.read_text())
    platform = other[1] if other else PLATFORM
    target = source.with_suffix(".txt")
    _compile("--python-platform", platform, *more, str(source), "-o", str(target))


def _compile(*arguments: str) -> None:
    command = (find_uv_bin(), "pip", "compile", *PLAIN, *arguments)
    done = subprocess.run(command, env=tool_environment(), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        words = " ".join(done.stderr.split())
        raise Infrastructure(
            f"uv pip compile exited with code {done.returncode}: {words[-500:] or '(it said nothing)'}"
        )


def main(names: list[str]) -> None:
    """Lock the named files, or everything and the harness itself; exits where there is no such file."""
    sources = {source.stem: source for source in sorted(REQUIREMENTS.glob("*.in"))}
    unknown = [name for name in names if name not in sources]
    if unknown:
        raise SystemExit(f"no {', '.join(f'{name}.in' for name in unknown)} in {REQUIREMENTS}")
    for name in names or sources:
        print(f"locking {name}", flush=True)
        lock(sources[name])
    if not names:
        project = PACKAGED.parent / "pyproject.toml"
        overrides = ("--overrides", str(HARNESS.with_suffix(".overrides.txt")))
        _compile("--universal", "--extra", "dev", *overrides, str(project), "-o", str(HARNESS))


if __name__ == "__main__":
    main(sys.argv[1:])
