"""The watchdog: whether nights still come and bring what they set out to, and whether the page shows it."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Annotated

import httpx2
import msgspec
import typer

from commands.options import API, ApiOption, ResultsOption, SummaryOption, err, out, owner_name, summarise
from matrix.untrusted import SENTENCE, safe
from reports import outcome, store
from reports import watchdog as watching
from reports.watchdog import Finding, Page

app = typer.Typer()

PATIENCE_S = 60.0
FAULTS = (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError)
"""Of a page that does not answer, or not as it should."""


class Made(msgspec.Struct):
    """What of grid.json is asked for; the rest may be of a newer program."""

    made_at: Annotated[dt.datetime, msgspec.Meta(tz=True)]


class Published(msgspec.Struct):
    """What GitHub says of the page of a repository."""

    html_url: str


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is no moment such as 2026-11-30T08:00:00Z")
    return moment


@app.command()
def watchdog(
    results: ResultsOption = Path("results"),
    profile: Annotated[
        list[str] | None, typer.Option("--profile", help="Whose nights are due every day; default: nightly.")
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="OWNER/NAME",
            callback=owner_name,
            help="Also ask whether the page that it publishes is young.",
        ),
    ] = None,
    api: ApiOption = API,
    now: Annotated[
        dt.datetime | None,
        typer.Option("--now", metavar="ISO", parser=_moment, help="Judge as of this moment; default: the clock."),
    ] = None,
    summary: SummaryOption = None,
) -> None:
    """Say whether the last night is younger than 26 hours and has decided at least half of its cells.

    Exit status 1 where it is not, or where there is none; what is wrong stands on standard error. A night is alive by
    its plan: one that had nothing to ask, because everything is unchanged, is as good as any. A page that is off is no
    fault. $GITHUB_TOKEN lets one ask where the page is.
    """
    at = now or dt.datetime.now(dt.UTC)
    findings = [one for name in profile or ["nightly"] for one in _of_profile(results, name, at)]
    if repository is not None:
        findings.append(watching.of_page(_published(f"{api}/repos/{repository}/pages"), at))
    summarise(summary, watching.markdown(findings))
    for one in findings:
        (err if one.wrong else out).print(one.sentence)
    raise SystemExit(outcome.UNEXPECTED if any(one.wrong for one in findings) else outcome.OK)


def _of_profile(results: Path, profile: str, now: dt.datetime) -> list[Finding]:
    with store.opened(results) as found:
        for problem in found.problems:
            err.print(f"readiness: {problem}")
        night = watching.newest(found.nights, profile, now)
        measured = [] if night is None else found.results("night = ?", [night.night])
    return watching.of_nights(profile, night, measured, now)


def _published(address: str) -> Page:
    """Ask GitHub where it publishes the page of a repository, and then the page; GITHUB_TOKEN lets one ask."""
    token = os.environ.get("GITHUB_TOKEN")
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx2.get(address, headers=headers, timeout=PATIENCE_S)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return Page(url=address, status=answer.status_code, made_at=None, off=True)
        found = msgspec.json.decode(answer.raise_for_status().content, type=Published)
        return _asked(f"{found.html_url.rstrip('/')}/")
    except FAULTS as error:
        return _broken(address, None, error)


def _asked(url: str) -> Page:
    """Ask for the page, and then for its grid.json."""
    status = None
    try:
        with httpx2.Client(timeout=PATIENCE_S, follow_redirects=True) as client:
            status = client.get(url).status_code
            grid = client.get(f"{url}grid.json").raise_for_status().content
        return Page(url=url, status=status, made_at=msgspec.json.decode(grid, type=Made).made_at)
    except FAULTS as error:
        return _broken(url, status, error)


def _broken(url: str, status: int | None, error: Exception) -> Page:
    return Page(url=url, status=status, made_at=None, problem=safe(" ".join(str(error).split()), SENTENCE))
