"""Faults that somebody has found by hand: executed and written down as completely as those of the grid."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from commands import reproducing
from commands.options import MatrixOption, ResultsOption, matrix_of, out, refuse
from matrix.bisection import FOLDER, Bisection
from matrix.cells import Cell, Record
from matrix.errors import WrongInput
from matrix.load import Matrix, did_you_mean
from matrix.reproduction import Reproduction
from matrix.results import read_json, write_bytes, write_json
from reports import outcome
from reports.bugs.forms import forms
from reports.bugs.packet import Fault, Packet, listed

app = typer.Typer()

FINDING, PROGRAM, REPRODUCTION, BISECTION, PAGE, DRAFT = (
    "finding.toml", "repro.py", "reproduction.json", "bisection.json", "README.md", "upstream.md",
)  # fmt: skip
"""Files of a finding's folder: what a person has written of it and the program; what came of it; what is read."""


class Finding(Record, frozen=True, kw_only=True):
    """What a person has written down of a fault."""

    title: str
    release: str
    """Id of the release that it was found in."""
    expected: str
    seen: str
    cause: str = ""
    """Where in the engine's code, if it is known."""
    fault: int
    """Its number in docs/engine-faults.md."""
    model: str = ""
    cell: str = ""
    """Of the grid, where it was found there: then its probe is bisected, and not the repro."""
    probe: str = ""


@app.command()
def findings(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER…", exists=True, file_okay=False)],
    again: Annotated[bool, typer.Option("--again", help="Execute repros anew that were executed before.")] = False,
    index: Annotated[
        Path | None, typer.Option("--index", metavar="FILE", help="Also write a page that lists these findings.")
    ] = None,
    matrix: MatrixOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Execute the repro of each finding on its release, and write the packet: README.md and upstream.md.

    A finding is a folder with finding.toml and repro.py, a program that exits 1 while the fault is there and 0 without
    it. The answer of `readiness bisect RELEASE --repro FOLDER/repro.py` is taken into the folder where there is one.
    """
    tabled = matrix_of(matrix)
    packets = {folder: _written(folder, tabled, results, again=again) for folder in folders}
    if index is not None:
        write_bytes(index, listed({folder.resolve().name: packet for folder, packet in packets.items()}).encode())
    if any(packet.held_back for packet in packets.values()):
        raise SystemExit(outcome.UNEXPECTED)


def _written(folder: Path, matrix: Matrix, results: Path, *, again: bool) -> Packet:
    finding, program = _read(folder / FINDING), (folder / PROGRAM).read_text()
    cell = _cell(matrix, finding.release)
    found = _reproduction(folder, program, matrix, cell, again=again)
    packet = Packet(
        fault=_fault(folder.resolve().name, finding, cell),
        program=program,
        reproduction=found,
        bisection=_bisection(folder, program, finding, results),
        form=forms().get(cell.release.engine),
    )
    write_bytes(folder / PAGE, f"# {finding.title}\n\n{packet.body}".encode())
    if packet.upstream is not None:
        write_bytes(folder / DRAFT, packet.upstream.encode())
    out.print(f"{folder}: {packet.held_back or found.sentence}")
    return packet


def _read(path: Path) -> Finding:
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Finding)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise WrongInput(f"{path}: {error}") from None


def _cell(matrix: Matrix, release: str) -> Cell:
    found = next((cell for cell in matrix.cells() if cell.release.id == release and cell.device.kind == "cpu"), None)
    if found is None:
        raise WrongInput(f"unknown release {release!r}{did_you_mean(release, list(matrix.releases))}")
    return found


def _reproduction(folder: Path, program: str, matrix: Matrix, cell: Cell, *, again: bool) -> Reproduction:
    """The stored execution of this very program, or a new one."""
    path = folder / REPRODUCTION
    if path.is_file() and not again:
        known = read_json(path, Reproduction)
        if known.program_sha256 == reproducing.digest(program) and known.release_id == cell.release.id:
            return known
    found = reproducing.execute(folder.resolve().name, program, matrix, cell, "venv")
    write_json(path, found)
    return found


def _bisection(folder: Path, program: str, finding: Finding, results: Path) -> Bisection | None:
    """Of its cell and probe, or of this very program; one among the results takes the place of the folder's."""
    asked = (finding.cell, finding.probe) if finding.cell else (finding.release, folder.resolve().name)
    for path in (results / FOLDER / f"{'__'.join(asked)}.json", folder / BISECTION):
        if not path.is_file():
            continue
        found = read_json(path, Bisection)
        if (finding.cell and found.name == "__".join(asked)) or found.repro == reproducing.digest(program):
            write_json(folder / BISECTION, found)
            return found
    if (folder / BISECTION).is_file():
        refuse(f"{folder / BISECTION} is of another {PROGRAM}: bisect again, or remove it")
    return None


def _fault(name: str, finding: Finding, cell: Cell) -> Fault:
    return Fault(
        name=name,
        title=finding.title,
        engine=cell.release.engine,
        version=cell.release.version,
        build=cell.build,
        build_note=cell.build_note,
        expected=finding.expected,
        seen=finding.seen,
        around=(f"Number {finding.fault} of [the engine faults met on the way](../../engine-faults.md).",)
        + ((finding.cause,) if finding.cause else ()),
        versions={"release": cell.release.id},
        model=finding.model,
        device=cell.device.kind,
    )
