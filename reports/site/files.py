"""grid.json, from what the pages show. Pure."""

from __future__ import annotations

from matrix.results import Result, Status
from reports import adoption, proofs
from reports.grid import Square
from reports.levels import LEVELS
from reports.site import documents, views
from reports.site.documents import GridFile, ModelFile, SquareFile
from reports.site.gather import Gathered
from reports.site.views import Shown


def grid_file(shown: Gathered) -> GridFile:
    """The content of grid.json."""
    squares = [
        _square_file(shown, one, in_words) for one, in_words in zip(shown.grid.squares, shown.squares, strict=True)
    ]
    return GridFile(
        schema_version=documents.SCHEMA_VERSION,
        made_at=shown.made_at,
        levels=LEVELS,
        alerts=tuple(shown.alerts),
        decided_share=adoption.decided_share(shown.grid.squares),
        nights=shown.nights,
        left_out=shown.left_out,
        models={name: _model_file(shown, name) for name in sorted(shown.models)},
        squares=tuple(squares),
        speed_changes=shown.speed_changes,
        mutation_score=proofs.mutation_score(),
        fault_coverage=proofs.fault_coverage(),
        verdict_power=proofs.verdict_power(),
    )


def _square_file(shown: Gathered, square: Square, words: Shown) -> SquareFile:
    statuses: dict[str, dict[str, Status]] = {}
    for result in square.results:
        statuses.setdefault(result.cell_id, {})[result.probe] = result.verdict.status
    seconds = shown.seconds(square.results)
    same = {name: getattr(words, name) for name in SquareFile.__struct_fields__ if name in Shown.__struct_fields__}
    return SquareFile(
        **same,
        output_tokens_per_s=words.speed,
        statuses=statuses,
        cells={cell_id: views.cell_page(cell_id) for cell_id in statuses},
        minutes=None if seconds is None else seconds / 60.0,
        usd=usd(square.results[0], seconds),
        steps=shown.timelines.get(square.place, ()),
    )


def usd(result: Result, seconds: float | None) -> float | None:
    """US dollars for some seconds on a result's device; None where it has no price or nobody knows how many."""
    price = result.cell.device.price_per_hour
    return None if price is None or seconds is None else price * seconds / 3600.0


def _model_file(shown: Gathered, name: str) -> ModelFile:
    model = shown.models[name]
    return ModelFile(
        organisation=model.organisation,
        country=model.country,
        licence=model.licence,
        released=model.released,
        architecture=model.architecture,
        kinds=model.kinds,
        parameters_total=model.parameters_total,
        parameters_active=model.parameters_active,
        context_length=model.context_length,
        dtype=model.dtype,
        page=f"models/{name}.html",
        days_since=shown.counted_from(name),
        days_to_levels=shown.days_to_levels(name),
    )
