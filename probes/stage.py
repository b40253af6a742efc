"""The stage before the engines: environments side by side, model, reference. What fails is kept for its cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from matrix.cells import Cell, Model, RecipeSource, ScriptSource
from matrix.errors import ReadinessError
from matrix.results import write_json
from probes.session import Built, Session
from probes.stopwatch import ENVIRONMENT, REFERENCE, Stopwatch
from runners import prepare, signals
from runners.environments import environment_of
from runners.host import side_by_side
from runners.models import Checkpoint
from runners.progress import Board

T = TypeVar("T")

WORKERS = max(4, side_by_side())
"""Things made side by side: the environments of four engines wait for the network more than for a core."""


def stage(session: Session, board: Board) -> dict[str, float]:
    """Make everything that the run's cells need and return the seconds that it took, by part (stopwatch.py).

    A failure is no exception here: it belongs to the cells that need what failed, and they report it.
    """
    cells = [planned.cell for planned in session.plan if planned.excluded is None]
    releases = {cell.release.id: cell for cell in cells} if session.attached is None else {}
    started = time.monotonic()
    with board.live(), ThreadPoolExecutor(WORKERS) as pool, _stopping(session, pool):
        checkpoints = _checkpoints(session, cells, board, pool)
        environments = [pool.submit(_environment, session, cell, board) for cell in releases.values()]
        for future in environments:
            future.result()
        environments_s = time.monotonic() - started
        _references(session, cells, checkpoints, board, pool)
        if session.attached is None:
            _for_each(cells, lambda cell: _weights(session, cell, checkpoints[cell.model.id], board), pool)
    return {ENVIRONMENT: environments_s, REFERENCE: time.monotonic() - started - environments_s}


def prefetch(session: Session, cells: Sequence[Cell], board: Board) -> dict[str, Checkpoint | None]:
    """Make the models and references of some cells, with no engine near them.

    Returns checkpoints by model, None: it failed.
    """
    with board.live(), ThreadPoolExecutor(WORKERS) as pool, _stopping(session, pool):
        checkpoints = _checkpoints(session, cells, board, pool)
        _references(session, cells, checkpoints, board, pool)
    return {name: future.result() for name, future in checkpoints.items()}


def _checkpoints(
    session: Session, cells: Sequence[Cell], board: Board, pool: ThreadPoolExecutor
) -> dict[str, Future[Checkpoint | None]]:
    models = {cell.model.id: cell.model for cell in cells}
    return {name: pool.submit(_checkpoint, session, model, board) for name, model in models.items()}


def _references(
    session: Session,
    cells: Sequence[Cell],
    checkpoints: Mapping[str, Future[Checkpoint | None]],
    board: Board,
    pool: ThreadPoolExecutor,
) -> None:
    """The reference of each model for each workload, of which every device has one, and each dtype of its noise.

    Weights that an engine makes itself have theirs once the engine is there.
    """
    asked = {
        (cell.model.id, cell.device.id, cell.dtype, cell.config.quantization): cell
        for cell in cells
        if cell.config.quantization in (None, *session.engines[cell.release.engine].formats)
    }.values()
    _for_each(asked, lambda cell: _reference(session, cell, checkpoints[cell.model.id], board), pool)


def _for_each(cells: Collection[Cell], make: Callable[[Cell], None], pool: ThreadPoolExecutor) -> None:
    """Those of tiny models side by side; others one after another, since each may fill the memory."""
    tiny = [pool.submit(make, cell) for cell in cells if isinstance(cell.model.source, RecipeSource | ScriptSource)]
    for cell in cells:
        if not isinstance(cell.model.source, RecipeSource | ScriptSource):
            make(cell)
    for future in tiny:
        future.result()


@contextmanager
def _stopping(session: Session, pool: ThreadPoolExecutor) -> Iterator[None]:
    """On an interrupt, begin nothing more and end what the threads started and wait for.

    The pool would wait for a whole compilation otherwise, and then make all that is left.
    """
    of_others = signals.children()
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        signals.stop_children(since=of_others)
        raise
    finally:
        session.close()


def _environment(session: Session, cell: Cell, board: Board) -> None:
    release = cell.release
    started = time.monotonic()
    error, log = None, ""
    try:
        with board.line(release.id) as say:
            if session.launcher.name == "docker":
                prepare.image_of(session.matrix, cell, say)
            else:
                environment_of(release, session.matrix.folder, say)
    except ReadinessError as failure:
        error, log = str(failure), "\n".join(getattr(failure, "__notes__", []))
    built = Built(seconds=time.monotonic() - started, error=error, log=log)
    write_json(session.built_path(release.id), built)


def _checkpoint(session: Session, model: Model, board: Board) -> Checkpoint | None:
    def make() -> Checkpoint:
        with board.line(model.id) as say:
            return session.checkpoint(model, say)

    return _or_none(make)


def _reference(session: Session, cell: Cell, source: Future[Checkpoint | None], board: Board) -> None:
    found = source.result()
    if found is None:
        return

    def make() -> None:
        with board.line(f"reference of {cell.model.id}") as say:
            reference = session.bench(cell, found, Stopwatch(), say).reference
            reference.coverage()
            corpus = reference.corpus()
            if cell.dtype != "float32":
                reference.ladder(corpus)

    _or_none(make)


def _weights(session: Session, cell: Cell, source: Future[Checkpoint | None], board: Board) -> None:
    engine, found = session.engines[cell.release.engine], source.result()
    if engine.convert is None or found is None or session.failed_to_build(cell.release.id):
        return
    if cell.config.quantization not in (None, *engine.quantizations, *engine.formats):
        return

    def make() -> None:
        with board.line(f"{engine.weights} of {cell.model.id}") as say:
            session.prepare(cell, session.served(cell, found), say)

    _or_none(make)


def _or_none(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except ReadinessError:
        return None  # the board has said it; each cell meets the same error and records it as its own
