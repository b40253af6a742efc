"""This machine: what it can do, what is cached on it, what broken runs left on it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from commands.options import out
from runners import cache as cache_room
from runners import doctor as doctor_room
from runners import images as images_room
from runners import parcels
from runners import reap as reap_room

app = typer.Typer()


@app.command()
def doctor() -> None:
    """Say what this machine can run, what is missing, and how to get it."""
    table = Table(title=f"this machine (cache: {cache_room.root()})", title_justify="left")
    for name in ("what", "found", "needed for", "advice"):
        table.add_column(name, overflow="fold")
    for finding in doctor_room.examine():
        mark = ("✓", "green") if finding.good else ("–", "yellow")
        what = Text.assemble(mark, f" {finding.what}")
        table.add_row(what, finding.found, finding.needed_for, "" if finding.good else finding.advice)
    out.print(table)


@app.command()
def cache(
    prune_to_gib: Annotated[
        float | None, typer.Option("--prune-to-gib", help="Remove the longest unused until this much is left.")
    ] = None,
    older_than_days: Annotated[
        float | None, typer.Option("--older-than-days", help="Remove what was unused for longer.")
    ] = None,
    parcels_folder: Annotated[
        Path | None, typer.Option("--import", metavar="DIR", help="Take over what `prefetch --export` packed.")
    ] = None,
) -> None:
    """List what is cached: environments, images, models, references; or prune it by size and age.

    What a run that is still going has used stays. READINESS_CACHE_GIB is a budget that every run keeps when it begins.
    """
    if parcels_folder is not None:
        for label in parcels.unpack(parcels_folder):
            out.print(f"took over {label}")
    if prune_to_gib is not None or older_than_days is not None:
        removed = cache_room.prune(
            max_bytes=None if prune_to_gib is None else int(prune_to_gib * 2**30),
            older_than=None if older_than_days is None else dt.timedelta(days=older_than_days),
            removers={images_room.KIND: images_room.forget},
        )
        for entry in removed:
            out.print(f"removed {entry.kind} {entry.key} ({entry.size / 2**20:.0f} MiB)")
    table = Table(title=str(cache_room.root()), title_justify="left")
    for name in ("kind", "what", "MiB", "made in", "last used"):
        table.add_column(name, overflow="fold")
    for entry, used in cache_room.entries():
        size = f"{entry.size / 2**20:.0f}"
        table.add_row(entry.kind, entry.label, size, f"{entry.seconds:.0f} s", f"{used:%Y-%m-%d %H:%M}")
    out.print(table)


@app.command()
def reap() -> None:
    """Remove processes and containers that a broken run left behind; those of a run that still goes are left alone."""
    for removed in reap_room.reap_orphans():
        out.print(f"removed {removed}")
