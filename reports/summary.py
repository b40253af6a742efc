"""What the jobs of a night say on their own pages, as Markdown. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import groupby

from matrix.jobs import Job
from matrix.plan import Night
from reports import levels
from reports.collect import Collected
from reports.grid import FRESH_NIGHTS, Square, age_nights
from reports.markdown import row
from reports.site.gather import Gathered

MARKS = {"right": "🟢", "partly": "🟠", "wrong": "🔴", "grey": "⚪"}


def plan(night: Night, jobs: Sequence[Job]) -> str:
    """What a night sets out to do, what of it is done already, and what is left out."""
    running = {cell for job in jobs for cell in job.cells}
    lines = ["## Plan", "", f"Profile `{night.profile}`: {len(running)} cells in {len(jobs)} jobs. {cost(night)}", ""]
    for job in jobs:
        lines += [f"- {job.name}, at most {job.minutes} minutes:"]
        lines += [f"  - `{cell}`: {night.reasons.get(cell, '')}" for cell in job.cells]
    lines += [f"- measured already in this run of the workflow: `{c}`" for c in night.cells if c not in running]
    lines += [f"- left out: `{cell}`: {reason}" for cell, reason in night.left_out.items()]
    return "\n".join([*lines, ""])


def cost(night: Night) -> str:
    """What a night takes."""
    hours = f"{len(night.cells)} cells, {night.accelerator_hours:.1f} accelerator-hours"
    if not night.accelerator_hours:
        return f"{hours}."
    return f"{hours}, about ${night.dollars:.0f}." if night.dollars is not None else f"{hours}, at no known price."


def collected(done: Collected) -> str:
    """What was brought together."""
    lines = ["## Collected", "", f"{done.new} new files, {done.known} known already."]
    lines += [f"- kept as it was, though another one came: `{name}`" for name in done.differing]
    lines += [f"- no longer accuses an engine: `{name}`" for name in done.withdrawn]
    return "\n".join([*lines, ""])


def grid(page: Gathered) -> str:
    """The grid, what is wrong with it, and what the last nights have brought."""
    today = page.today
    lines = ["## Readiness grid", ""]
    lines += [f"> **{alert}**\n" for alert in page.alerts]
    for device, group in groupby(page.grid.squares, key=lambda square: square.place.device):
        lines += [*_table(device, list(group), today), ""]
    lines += [f"- {night.day}: {night.sentence}" for night in page.nights]
    lines += [f"- left out: `{cell}`: {reason}" for cell, reason in page.left_out.items()]
    return "\n".join([*lines, ""])


def _table(device: str, squares: Sequence[Square], today: dt.date) -> list[str]:
    columns = sorted({square.place.column for square in squares})
    lines = [row([f"on {device}", *columns]), row(["---"] * (len(columns) + 1))]
    for model, found in groupby(squares, key=lambda square: square.place.model):
        by_column = {square.place.column: square for square in found}
        lines.append(row([model, *(_square(by_column.get(column), today) for column in columns)]))
    return lines


def _square(square: Square | None, today: dt.date) -> str:
    if square is None:
        return "not asked"
    age = age_nights(square, today)
    nights = f"{age} night{'s' if age != 1 else ''} old"
    old = f", **{nights}**" if age > FRESH_NIGHTS else f", {nights}" if age else ""
    why = f"<br>{square.blocked_by}" if square.colour != "right" else ""
    return f"{MARKS[square.colour]} {levels.words(square.level)} ({square.version}){old}{why}"
