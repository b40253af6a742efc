"""Images of engines: build, pull, pin, list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from commands.options import MatrixOption, matrix_of, out
from matrix.cells import Release
from matrix.errors import WrongInput
from matrix.load import Matrix, did_you_mean
from runners import daemon
from runners import images as images_room
from runners.progress import Board

app = typer.Typer(no_args_is_help=True, help="Images of engines: build, list, pull, pin.")

ReleasesArgument = Annotated[list[str] | None, typer.Argument(metavar="[RELEASE]…", help="Ids; none: all there are.")]


@app.command("build")
def images_build(releases: ReleasesArgument = None, matrix: MatrixOption = None) -> None:
    """Build the images of releases that run on CPUs from their locks; those that are here stay as they are."""
    found = matrix_of(matrix)
    chosen = _chosen(found, releases, lambda release: release.requirements is not None)
    board = Board(out)
    with board.live(), daemon.connected() as client:
        for release in chosen:
            with board.line(release.id) as say:
                built = images_room.build(client, release, found.folder, say)
            out.print(f"{release.id}: {built.name} {built.digest}")


@app.command("pull")
def images_pull(releases: ReleasesArgument = None, matrix: MatrixOption = None) -> None:
    """Pull the official images of releases: by digest where one is pinned, by tag otherwise."""
    chosen = _chosen(matrix_of(matrix), releases, lambda release: release.image is not None)
    board = Board(out)
    with board.live(), daemon.connected() as client:
        for release in chosen:
            assert release.image is not None
            with board.line(release.id) as say:
                pulled = images_room.pull(client, release.image, say)
            out.print(f"{release.id}: {pulled.name} {pulled.digest}")


@app.command("pin")
def images_pin(releases: ReleasesArgument = None, matrix: MatrixOption = None) -> None:
    """Ask each registry for the digest behind a tag, and write it beside the tag in engines.toml."""
    found = matrix_of(matrix)
    with daemon.connected() as client:
        for changed in images_room.pin(client, found.path("engines.toml"), releases or ()):
            out.print(changed)


@app.command("list")
def images_list(matrix: MatrixOption = None) -> None:
    """List official images with their digests, and the images built here."""
    table = Table(title="images", title_justify="left")
    for name in ("release", "image", "for", "digest or size"):
        table.add_column(name, overflow="fold")
    for release in matrix_of(matrix).releases.values():
        if release.image is not None:
            kinds = ", ".join(release.image.device_kinds)
            table.add_row(release.id, release.image.tag, kinds, release.image.digest or "not pinned")
    with daemon.connected() as client:
        for release_id, tag, size in images_room.tags(client):
            table.add_row(release_id, tag, "cpu", f"{size / 2**30:.2f} GiB, built here")
    out.print(table)


def _chosen(matrix: Matrix, ids: list[str] | None, serves: Callable[[Release], bool]) -> list[Release]:
    for name in ids or ():
        if name not in matrix.releases:
            raise WrongInput(f"unknown release {name!r}{did_you_mean(name, list(matrix.releases))}")
    chosen = [matrix.releases[name] for name in ids] if ids else list(matrix.releases.values())
    return [release for release in chosen if serves(release)]
