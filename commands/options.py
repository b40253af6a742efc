"""What the subcommands share: options, consoles, and how wrong input is refused."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from matrix import load
from matrix.cells import FILE_NAME
from matrix.load import Matrix
from probes import tables
from probes.session import Options
from reports import outcome

# Ids, reasons and the words of engines are printed as they are: `vllm[audio]` is no markup, `:100:` no emoji.
out = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
err = Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)


def day(text: str) -> dt.date:
    """For options that take a day."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day such as 2026-06-01") from None


def _file_name(name: str | None) -> str | None:
    """A night's name becomes the name of its record's file."""
    if name is not None and not re.fullmatch(FILE_NAME, name):
        raise typer.BadParameter(f"{name!r} is not made of letters, digits, '_', '.' and '-' alone")
    return name


def owner_name(name: str | None) -> str | None:
    """A repository as GitHub names it."""
    if name is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise typer.BadParameter(f"{name!r} is no repository: expected owner/name")
    return name


MatrixOption = Annotated[
    str | None,
    typer.Option("--matrix", metavar="DIR", envvar="READINESS_MATRIX", help="Folder with your own TOML tables."),
]
ProfileOption = Annotated[str, typer.Option("--profile", help="Named choice of cells, from profiles.toml.")]
SelectOption = Annotated[
    list[str] | None, typer.Option("--select", metavar="GLOB", help="Only cells whose id matches.")
]
TierOption = Annotated[
    str | None,
    typer.Option("--tier", metavar="TIER", help="How much is asked: smoke, standard or deep (default: the profile's)."),
]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of result files, one per run.")]
NightOption = Annotated[
    str | None,
    typer.Option("--night", metavar="NAME", callback=_file_name, help="The nightly run that this is a part of."),
]
SummaryOption = Annotated[
    Path | None, typer.Option("--summary", metavar="FILE", help="Append what was done, as Markdown, to this file.")
]
ApiOption = Annotated[str, typer.Option("--api", metavar="URL", envvar="GITHUB_API_URL", help="Of GitHub's REST API.")]
API = "https://api.github.com"
"""Its default."""
SiteOption = Annotated[Path, typer.Option("--site", metavar="DIR", help="Folder of the static site.")]


def refuse(message: str) -> NoReturn:
    """End with wrong input: one line on standard error, exit status 2."""
    err.print(f"readiness: {message}")
    raise SystemExit(outcome.WRONG_INPUT)


def matrix_of(folder: str | None) -> Matrix:
    """The tables that --matrix names, or the packaged ones."""
    return tables.matrix(Path(folder) if folder is not None else load.PACKAGED)


def session_options(matrix: str | None, profile: str, select: list[str] | None, **more: Any) -> Options:
    """The options of a session, with the packaged tables where no others are named."""
    given = {"matrix": matrix} if matrix is not None else {}
    return Options(**given, profile=profile, select=tuple(select or ()), **more)


def summarise(summary: Path | None, text: str) -> None:
    """Append a text to the page of a job, where there is one."""
    if summary is not None:
        with summary.open("a") as file:
            file.write(f"{text}\n")
