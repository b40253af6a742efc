"""Every probe that lies in `probes/` is asked, under the name of its file."""

from __future__ import annotations

from pathlib import Path

from probes import registry

PROBES = Path(registry.__file__).parent


def test_every_file_with_a_probe_is_asked_under_its_name() -> None:
    """A forgotten one is a silent hole; a hyphen in a name splits a cell over workers (probes/workers.py)."""
    files = {path.stem for path in PROBES.glob("*.py") if "\nPROBE = " in path.read_text()}
    assert set(registry.probes()) == files
    assert all(name.isidentifier() for name in files)
