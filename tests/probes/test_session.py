"""How a cell's engine comes up: offline, once more online where it wants the network, and anew where it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from matrix.cells import Cell, Model
from matrix.errors import EngineCrashed, WrongInput
from matrix.plan import Planned
from probes import session
from probes.reference.stage import Coverage, Reference
from probes.session import Options
from probes.stopwatch import Stopwatch
from runners.engine import Engine, Launch
from runners.environments import Say
from runners.models import Checkpoint
from runners.prepare import Prepared
from tests.fake_engine import adapter, bench

OFFLINE = ("say=OfflineModeIsEnabled", "exit-silently=1")
PLANNED = Planned(cell=bench.CELL)


class Here(session.Session):
    """A session whose model, reference and environment are there already."""

    covered = bench.COVERAGE

    def checkpoint(self, model: Model, say: Say = print) -> Checkpoint:
        return Checkpoint(folder=Path("pocket"), digest="0" * 40)

    def served(self, cell: Cell, source: Checkpoint) -> Checkpoint:
        return source

    def reference(self, cell: Cell, source: Checkpoint, watch: Stopwatch, say: Say = print) -> Reference:
        return bench.bench(covered=self.covered).reference

    def prepare(self, cell: Cell, source: Checkpoint, say: Say = print) -> Prepared:
        return Prepared(environment=bench.ENVIRONMENT, image=None, model_path=Path("pocket"), claim=None)


def needs_network(*then: str) -> Engine:
    """An engine that wants the network, and behaves so once it has it."""

    def command(launch: Launch) -> tuple[str, ...]:
        return adapter.fake_engine(*(then if launch.online else OFFLINE)).command(launch)

    return msgspec.structs.replace(adapter.ENGINE, command=command)


@pytest.fixture
def here(
    tables: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Engine, Coverage], Here]:
    monkeypatch.setenv("READINESS_ENGINES", "tests.fake_engine.adapter")
    monkeypatch.setattr(session, "SHIMS", adapter.PROGRAM.parent)

    def make(engine: Engine, covered: Coverage) -> Here:
        made = Here(Options(matrix=str(tables), launcher="venv", run=str(tmp_path / "run")))
        made.engines, made.covered = {"fake": engine}, covered
        return made

    return make


def logs(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run" / bench.CELL.id).glob("server*.log"))


def test_an_engine_that_wants_the_network_is_tried_once_more_with_it(
    here: Callable[[Engine, Coverage], Here], tmp_path: Path
) -> None:
    """Both starts keep their logs; so does a start before another one."""
    of_run = here(needs_network("healthy"), bench.COVERAGE)
    with of_run.serve(PLANNED, Stopwatch()) as up:
        assert up.server.needed_network
        assert logs(tmp_path) == ["server.log", "server.online.log"]
        first = up.server.base_url
        up.again()
        assert up.server.base_url != first
        assert logs(tmp_path) == ["server.1.log", "server.log", "server.online.log"]


@pytest.mark.parametrize("engine", [adapter.fake_engine("exit-loading=1"), needs_network("exit-loading=1")])
def test_an_engine_that_ends_over_a_bad_checkpoint_is_excused_offline_and_online(
    engine: Engine, here: Callable[[Engine, Coverage], Here]
) -> None:
    """Over a good one it has crashed."""
    holey = msgspec.structs.replace(bench.COVERAGE, missing=("lm_head.weight",))
    with (
        pytest.raises(WrongInput, match=r"^the checkpoint lacks lm_head\.weight; the engine does not take it: "),
        here(engine, holey).serve(PLANNED, Stopwatch()),
    ):
        pass
    with pytest.raises(EngineCrashed), here(engine, bench.COVERAGE).serve(PLANNED, Stopwatch()):
        pass
