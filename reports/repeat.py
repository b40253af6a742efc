"""How to measure a cell again: the exact commands, from a result's provenance."""

from __future__ import annotations

import re
import shlex

from matrix.results import Result

COMMIT = re.compile(r"\+([0-9a-f]{40})(\.dirty)?$")


def commands(result: Result) -> tuple[str, ...]:
    """Lines for a shell in a clone of this project; none for a server that somebody else had started."""
    provenance = result.provenance
    if provenance.launcher not in ("docker", "venv"):
        return ()
    known = COMMIT.search(provenance.harness_version)
    checkout = [f"git checkout {known[1]}"] if known else []
    run = f".venv/bin/readiness run --profile {provenance.profile} --launcher {provenance.launcher}"
    return (*checkout, "make setup", f"{run} --select {shlex.quote(result.cell_id)}")


def engine_command(result: Result) -> str:
    """The engine's own command line, quoted for a shell; empty where it was never started."""
    return shlex.join(result.provenance.command)


def versions(result: Result) -> dict[str, str]:
    """Everything that says what exactly ran, by name; what is not known is left out."""
    provenance = result.provenance
    known = {
        "release": provenance.release_id,
        "build": f"{provenance.build}. {provenance.build_note}".rstrip(". "),
        "engine says": provenance.engine_version,
        "image": provenance.image_digest,
        "requirements (SHA-256)": provenance.requirements_sha256,
        "model": result.cell.model.id,
        "model revision": provenance.model_digest,
        "dtype": result.cell.dtype,
        "machine": provenance.machine,
        "driver": provenance.driver,
        "launcher": provenance.launcher,
        "readiness": provenance.harness_version,
        "probe": f"{result.probe} {result.probe_version}",
        "run": provenance.run_id,
        "night": provenance.night,
    }
    return {name: value for name, value in known.items() if value}
