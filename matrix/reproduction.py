"""Whether a standalone program has shown a fault again, without anything of this project. Read and written as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from matrix.cells import FileName, Record

FOLDER = "reproductions"
"""Beside the runs of a results folder."""


Launcher = Literal["venv", "docker"]

WANTED = ".wanted.json"
"""Ends the names of files of `Wanted`."""


class Wanted(Record, frozen=True, kw_only=True):
    """A repro that is to be executed, as it goes to a machine that has neither results nor a token."""

    name: FileName
    cell_id: str
    """On whose release and device."""
    launcher: Launcher
    program: str


class Reproduction(Record, frozen=True, kw_only=True):
    """One execution of a repro where an engine is installed."""

    name: FileName
    """Of its file: the id of the failure, or of the finding."""
    release_id: str
    build: str
    build_note: str
    outcome: Literal["shown", "gone", "untried"]
    """By exit status 1, 0, or anything else."""
    exit_code: int
    output: str
    program_sha256: str
    """Of the repro that was executed: another one proves nothing."""
    launcher: Launcher
    requirements_sha256: str | None
    image_digest: str | None
    machine: str
    environment_report: str | None
    """What the engine says of its own environment; None where it has no such command."""
    ran_at: dt.datetime
    """UTC."""

    @property
    def sentence(self) -> str:
        """In words."""
        day = f"{self.ran_at:%Y-%m-%d}"
        said = {
            "shown": "shows the fault (exit status 1)",
            "gone": "does not show it (exit status 0)",
            "untried": f"could not be tried (exit status {self.exit_code})",
        }
        return f"Executed {day} on {self.release_id}: it {said[self.outcome]}."
