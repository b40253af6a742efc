"""The grid and the evidence in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from matrix.results import Result, Status
from reports import levels, repeat
from reports.adoption import SPEED
from reports.grid import Grid, Square

COLOURS = {
    Status.PASS: "green",
    Status.DEGRADED: "yellow",
    Status.FAIL: "red",
    Status.CRASH: "red",
    Status.TIMEOUT: "red",
}


def terminal(grid: Grid) -> RenderableType:
    """A table a model and device, and the sentences below it."""
    parts: list[RenderableType] = []
    for (model, device), squares in groupby(grid.squares, key=lambda square: (square.place.model, square.place.device)):
        group = list(squares)
        parts += [_table(f"{model} on {device}", group, grid.probes), *map(_sentences, group)]
    return Group(*parts)


def _table(title: str, squares: list[Square], probes: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("engine", overflow="fold", min_width=16)
    for name in (*probes, "level"):
        table.add_column(name)
    for square in squares:
        for config, results in groupby(_by_config(square), key=lambda result: result.cell.config.id):
            by_probe = {result.probe: result for result in results}
            marks = [_mark(by_probe.get(probe)) for probe in probes]
            build = "" if square.build == "official" else f"\n{square.build} build"
            settings = "" if config == "default" else f"\n{config}"
            table.add_row(f"{square.release}{settings}{build}", *marks, levels.words(square.level))
    return table


def _by_config(square: Square) -> list[Result]:
    return sorted(square.results, key=lambda result: (result.cell.config.id, result.provenance.started_at))


def _mark(result: Result | None) -> Text:
    if result is None:
        return Text("not asked", style="bright_black")
    status = result.verdict.status
    known = status.blames_engine and not result.verdict.unexpected
    words = f"{'known ' if known else ''}{status.value}"
    number = short_number(result)
    return Text(f"{words}\n{number}" if number else words, style=COLOURS.get(status, "bright_black"))


def short_number(result: Result) -> str:
    """The one number of a result that fits into a square."""
    numbers = result.verdict.numbers
    shapes = (
        ("startup_s", "{:.0f} s"),
        ("prefill_ratio", "{:.2f} x noise"),
        ("decode_ratio", "{:.2f} x noise"),
        ("decode_hard_mismatches", "{:.0f} unexplained"),
        (SPEED, "{:.1f} tokens/s"),
    )
    return next((shape.format(numbers[name]) for name, shape in shapes if name in numbers), "")


def _sentences(square: Square) -> Text:
    text = Text()
    for result in _by_config(square):
        style = COLOURS.get(result.verdict.status, "bright_black")
        text.append(f"{result.cell_id} {result.probe}: ", style="bold")
        text.append(f"{result.verdict.status.value}: ", style=style)
        text.append(f"{result.verdict.reason}\n")
    return text


def listing(results: Sequence[Result]) -> RenderableType:
    """A line a result, in the order given, so that `grep` and `sort` can go on with them."""
    text = Text()
    for result in results:
        verdict = result.verdict
        number = short_number(result)
        text.append(f"{result.provenance.started_at:%Y-%m-%d %H:%M} {result.cell_id} {result.probe} ")
        text.append(verdict.status.value, style=COLOURS.get(verdict.status, "bright_black"))
        text.append(f"{f' {number}' if number else ''}: {' '.join(verdict.reason.split())}\n")
    return text


def evidence(result: Result) -> RenderableType:
    """Everything a result says, for a terminal."""
    verdict = result.verdict
    text = Text()
    text.append(f"{result.cell_id} {result.probe}\n", style="bold")
    text.append(f"{verdict.status.value}: {verdict.reason}\n", style=COLOURS.get(verdict.status, "bright_black"))
    for name, value in verdict.numbers.items():
        text.append(f"  {name} = {value:.6g}\n")
    for name, said in verdict.evidence.items():
        text.append(f"{name}:\n", style="bold")
        text.append(f"{said}\n")
    if command := repeat.engine_command(result):
        text.append(f"command: {command}\n")
    for name, said in repeat.versions(result).items():
        text.append(f"{name}: {said}\n")
    text.append(f"measured: {result.provenance.started_at:%Y-%m-%d %H:%M} UTC\n")
    return text
