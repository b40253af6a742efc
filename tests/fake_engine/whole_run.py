"""The fake engine for whole runs of the `readiness` command: READINESS_ENGINES=tests.fake_engine.whole_run.

Importing it puts the stand-in in the reference's place, also in pytest-xdist's workers, so that a whole run takes
seconds and needs no torch; tables, environments, launcher, probes, results and reports are the real ones.
"""

from __future__ import annotations

import os
from pathlib import Path

from matrix.cells import Cell, Model
from probes import session
from probes.reference.stage import Reference
from probes.stopwatch import Stopwatch
from runners.environments import Say
from runners.models import Checkpoint
from tests.fake_engine import adapter, bench

# A launcher passes no variable of its caller on; by this one a test knows the engines that it started.
ENGINE = adapter.fake_engine(environment={bench.MARK: os.environ.get(bench.MARK, "")})

session.SHIMS = adapter.PROGRAM.parent


class Session(session.Session):
    """A session whose model is the pocket model."""

    def checkpoint(self, model: Model, say: Say = print) -> Checkpoint:
        return Checkpoint(folder=Path("pocket"), digest="0" * 40)

    def reference(self, cell: Cell, source: Checkpoint, watch: Stopwatch, say: Say = print) -> Reference:
        stand_in = bench.bench(cell.device.workload).reference
        assert isinstance(stand_in, bench.StandIn)
        return stand_in


# Replaced on the class, because the run and every xdist worker make a session of their own.
session.Session.checkpoint = Session.checkpoint  # type: ignore[method-assign,assignment]
session.Session.reference = Session.reference  # type: ignore[method-assign,assignment]
