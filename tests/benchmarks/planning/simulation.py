"""Sixty nights of planning, played: real days of releases, assumed times of cells. Pure but for the file of days."""

from __future__ import annotations

import datetime as dt
import math
import random
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from matrix.cells import Cell, Device, Model, Record, Release
from matrix.jobs import IMAGE_BYTES, jobs, model_bytes
from matrix.priorities import ROTATION, Candidate, Choice, Known, Why, choose

ARRIVALS = Path(__file__).parent / "arrivals.toml"

MODELS = 60

SIZES = (
    0.3, 0.5, 0.6, 1, 1, 1.2, 3, 3, 4, 4.5, 7, 7, 7, 8, 8, 8, 9, 12, 13, 16, 20, 21, 24, 24, 26, 27, 27, 30, 30, 31,
    32, 32, 36, 48, 80, 80, 106, 109, 119, 230, 355, 550, 671,
)  # fmt: skip
"""Billions of parameters of the models whose architectures this project has recipes for, as their names say."""

RED, FLAKY = 0.15, 0.02
"""Shares of cells that an engine fails, and that fail of themselves on a night."""

JITTER = 0.3
"""Standard deviation of the logarithm of what a cell takes beside what it is expected to take."""


class Engine(Record, frozen=True, kw_only=True):
    """An engine and the days of its releases."""

    name: str
    releases: tuple[dt.date, ...]


class Arrived(Record, frozen=True, kw_only=True):
    """Models that came on a day."""

    day: dt.date
    classes: tuple[str, ...]


class Arrivals(Record, frozen=True, kw_only=True):
    """The file of days."""

    first: dt.date
    nights: int
    engine: tuple[Engine, ...]
    model: tuple[Arrived, ...]


class Played(Record, frozen=True, kw_only=True):
    """What came of all nights under one budget."""

    budget_h: float
    spent_h: tuple[float, ...]
    """Accelerator-hours by night, as they really were."""
    lateness: tuple[int, ...]
    """Nights from the coming of a model until an engine was asked about it, for each of both; to the end if never."""
    release_lateness: tuple[int, ...]
    """Nights from a release until a known model was asked of it."""
    superseded: int
    """Of releases and known models, those that the next release came before."""
    oldest: tuple[int, ...]
    """Nights since the model and engine were asked that nobody asked for longest, night by night."""
    asked: dict[str, int]
    """Cells by what they were asked for."""
    fetched: Fetched


class Fetched(Record, frozen=True, kw_only=True):
    """Bytes that jobs fetch whose machines have nothing, in all nights."""

    least: float
    """If each image and each model came once a night."""
    grouped: float
    """As jobs are grouped."""
    by_release: float
    """If jobs shared images alone."""


def arrivals() -> Arrivals:
    """The real days."""
    return msgspec.convert(tomllib.loads(ARRIVALS.read_text()), Arrivals)


def accelerators(billions: float) -> int:
    """Of 80 GB, that hold bfloat16 weights and a quarter of that besides; beyond eight the weights are halved."""
    needed = math.ceil(billions * 2 * 1.25 / 80)
    return next((count for count in (1, 2, 4, 8) if count >= needed), 8)


def expected_s(billions: float) -> float:
    """Ten minutes of asking, and the weights read at 1 GB/s: assumed."""
    return 600 + 2 * billions


class World:
    """What there is on each night: models that have come, and of each engine its newest release."""

    def __init__(self, days: Arrivals, like: Cell) -> None:
        self.days, self._like = days, like
        late = [(one.day, name) for one in days.model for name in one.classes]
        old = [(days.first - dt.timedelta(days=400), f"model-{number}") for number in range(MODELS - len(late))]
        self._models = [
            self._model(name, came, SIZES[number % len(SIZES)]) for number, (came, name) in enumerate([*late, *old])
        ]

    def _model(self, name: str, came: dt.date, billions: float) -> Model:
        return msgspec.structs.replace(
            self._like.model, id=name.lower(), released=came, parameters_total=int(billions * 1e9), dtype="bfloat16"
        )

    def cells(self, night: dt.date) -> list[Cell]:
        """Those that could be asked on a night."""
        return [
            msgspec.structs.replace(
                self._like, release=self._release(engine, night), model=model, device=self._device(model)
            )
            for engine in self.days.engine
            for model in self._models
            if model.released is not None and model.released <= night
        ]

    def _release(self, engine: Engine, night: dt.date) -> Release:
        out = [day for day in engine.releases if day <= night]
        released = out[-1] if out else self.days.first - dt.timedelta(days=30)
        return msgspec.structs.replace(
            self._like.release, engine=engine.name, version=f"1.{len(out)}", released=released, requirements=None
        )

    def _device(self, model: Model) -> Device:
        count = accelerators((model.parameters_total or 0) / 1e9)
        return msgspec.structs.replace(self._like.device, id=f"h100x{count}", accelerators=count, runner=("gpu",))


class Player:
    """One budget, through all nights."""

    def __init__(self, world: World, budget_h: float, seed: int, *, by_priority: bool = True) -> None:
        self._world, self._budget_h, self._by_priority = world, budget_h, by_priority
        self._random = random.Random(seed)
        first = world.days.first
        self._known: dict[str, Known] = {}
        self._last: dict[tuple[str, str], dt.date] = {}
        for cell in world.cells(first - dt.timedelta(days=1)):
            asked = first - dt.timedelta(days=self._random.randint(1, ROTATION - 1))
            self._known[cell.id] = Known(asked=asked, seconds=expected_s(billions(cell)))
            self._last[cell.model.id, cell.release.engine] = asked
        self._met = dict.fromkeys(self._last, first)
        self._came: dict[str, Cell] = {}
        self._first_asked: dict[str, dt.date] = {}
        self._red: dict[tuple[str, str], bool] = {}

    def play(self) -> Played:
        """Every night, one after another."""
        days = self._world.days
        nights = [days.first + dt.timedelta(days=number) for number in range(days.nights)]
        spent: list[float] = []
        oldest: list[int] = []
        asked: Counter[str] = Counter()
        parts: list[Fetched] = []
        for night in nights:
            cells = self._world.cells(night)
            self._came |= {cell.id: cell for cell in cells if cell.id not in self._known}
            chosen = [one for one in self._choose(cells, night) if one.asked]
            spent.append(sum(self._ask(one.cell, night) for one in chosen))
            asked.update(one.why.name for one in chosen)
            oldest.append(max((night - self._since(cell)).days for cell in cells))
            parts.append(fetched([one.cell for one in chosen]))
        releases = [cell for cell in self._came.values() if self._of_release(cell)]
        return Played(
            budget_h=self._budget_h,
            spent_h=tuple(spent),
            lateness=tuple(self._lateness(nights[-1])),
            release_lateness=tuple(
                (self._first_asked[cell.id] - _came(cell)).days for cell in releases if cell.id in self._first_asked
            ),
            superseded=sum(cell.id not in self._first_asked for cell in releases),
            oldest=tuple(oldest),
            asked=dict(asked),
            fetched=Fetched(**{name: sum(getattr(part, name) for part in parts) for name in Fetched.__struct_fields__}),
        )

    def _choose(self, cells: Sequence[Cell], night: dt.date) -> list[Choice]:
        if not self._by_priority:
            return oldest_first(cells, self._known, self._budget_h)
        candidates = [
            Candidate(
                cell=cell,
                past=self._known.get(cell.id),
                before=self._last.get((cell.model.id, cell.release.engine)),
            )
            for cell in cells
        ]
        return choose(candidates, night, budget_h=self._budget_h)

    def _ask(self, cell: Cell, night: dt.date) -> float:
        """Accelerator-hours that it really takes."""
        before = self._known.get(cell.id)
        took = expected_s(billions(cell)) * math.exp(self._random.gauss(0.0, JITTER))
        red = self._red.setdefault((cell.model.id, cell.release.id), self._random.random() < RED)
        self._known[cell.id] = Known(
            asked=night,
            red=red,
            confirmed=before is not None and before.red == red,
            unanswered=self._random.random() < FLAKY,
            seconds=took,
        )
        self._first_asked.setdefault(cell.id, night)
        self._met.setdefault((cell.model.id, cell.release.engine), night)
        self._last[cell.model.id, cell.release.engine] = night
        return took * cell.device.accelerators / 3600

    def _since(self, cell: Cell) -> dt.date:
        """The day on which an engine was last asked about a model, of any release, else that of the later's coming."""
        return self._last.get((cell.model.id, cell.release.engine), _came(cell))

    def _of_release(self, cell: Cell) -> bool:
        return (cell.release.released or dt.date.min) > (cell.model.released or dt.date.min)

    def _lateness(self, last: dt.date) -> list[int]:
        new = [
            cell for cell in self._world.cells(last) if (cell.model.released or dt.date.min) >= self._world.days.first
        ]
        return [
            (self._met.get((cell.model.id, cell.release.engine), last) - (cell.model.released or last)).days
            for cell in new
        ]


def _came(cell: Cell) -> dt.date:
    return max(cell.release.released or dt.date.min, cell.model.released or dt.date.min)


def billions(cell: Cell) -> float:
    """Parameters of its model."""
    return (cell.model.parameters_total or 0) / 1e9


def oldest_first(cells: Sequence[Cell], known: Mapping[str, Known], budget_h: float) -> list[Choice]:
    """What most do: whatever was asked longest ago comes first, new or not."""
    left, found = budget_h, []
    for cell in sorted(cells, key=lambda cell: known[cell.id].asked if cell.id in known else _came(cell)):
        seconds = known[cell.id].seconds if cell.id in known else None
        cost = (seconds or expected_s(billions(cell))) * cell.device.accelerators / 3600
        if cost <= left:
            left -= cost
            found.append(Choice(cell=cell, why=Why.ROTATION, sentence="", hours=cost, asked=True))
    return found


def fetched(cells: Sequence[Cell]) -> Fetched:
    """What one night's jobs fetch."""
    by_id = {cell.id: cell for cell in cells}
    grouped = [[by_id[name] for name in job.cells] for job in jobs(cells)]
    alone: dict[str, list[Cell]] = {}
    for cell in cells:
        alone.setdefault(cell.release.id + cell.device.id, []).append(cell)
    by_release = [group[start : start + 8] for group in alone.values() for start in range(0, len(group), 8)]
    return Fetched(least=_bytes(cells), grouped=sum(map(_bytes, grouped)), by_release=sum(map(_bytes, by_release)))


def _bytes(cells: Iterable[Cell]) -> float:
    images = {cell.release.id: IMAGE_BYTES for cell in cells}
    models = {cell.model.id: model_bytes(cell) for cell in cells}
    return sum(images.values()) + sum(models.values())
