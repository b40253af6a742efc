"""What is fetched before any engine starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from matrix.cells import Model
from matrix.errors import Infrastructure
from probes import session, stage
from probes.session import Options
from runners.environments import Say
from runners.models import Checkpoint
from runners.progress import Board


class WithoutHub(session.Session):
    """A session to which the hub gives nothing."""

    def checkpoint(self, model: Model, say: Say = print) -> Checkpoint:
        raise Infrastructure("the hub did not give it: 429")


def test_a_model_that_cannot_be_had_is_reported_and_stops_nothing(
    tables: Path, monkeypatch: pytest.MonkeyPatch, cache_root: Path
) -> None:
    """The command's exit status tells; the cells of that model say why, and the others run."""
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.adapter")
    made = WithoutHub(Options(matrix=str(tables)))
    found = stage.prefetch(made, [planned.cell for planned in made.plan], Board(Console(quiet=True)))
    assert found == {"bigram": None}
