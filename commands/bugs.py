"""From failures to issues of our own tracker: `readiness bugs`. Nothing is ever sent to an engine's project."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from commands.options import NightOption, ResultsOption, SummaryOption, err, out, refuse, summarise
from matrix.results import write_bytes
from reports import outcome, questions, store
from reports.bugs import draft as drafting
from reports.bugs import tracking
from reports.bugs.failures import failures
from reports.bugs.issue import Issue
from reports.bugs.tracking import Done, Report
from reports.store import Store

app = typer.Typer()

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@app.command()
def bugs(
    results: ResultsOption = Path("results"),
    drafts: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the drafts.")] = Path("drafts"),
    file: Annotated[
        bool, typer.Option("--file/--dry-run", help="Open and change issues of our own tracker, or only say which.")
    ] = False,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repo", metavar="OWNER/NAME", help="Our tracker; with --file the default is $GITHUB_REPOSITORY."
        ),
    ] = None,
    api: Annotated[
        str, typer.Option(metavar="URL", envvar="GITHUB_API_URL", help="Of GitHub's REST API.")
    ] = "https://api.github.com",
    night: NightOption = None,
    summary: SummaryOption = None,
) -> None:
    """Draft a report for every failure that two runs in a row have shown, and with --file keep our own tracker by them.

    An issue a failure: opened, at most three a night and engine; updated where it spreads; closed after 14 clean
    nights; opened again where it returns. The token is read from $GITHUB_TOKEN.

    Without --file nothing is sent; with --repo the tracker is read, and what would be done is told from what is there.
    """
    token = os.environ.get("GITHUB_TOKEN", "")
    name = repository or (os.environ.get("GITHUB_REPOSITORY") if file else None)
    if name is not None and not REPOSITORY.fullmatch(name):
        refuse(f"{name!r} is no repository: expected owner/name")
    if file and (name is None or not token):
        refuse("--file needs the repository of our tracker (--repo or $GITHUB_REPOSITORY) and $GITHUB_TOKEN")
    with store.opened(results) as found:
        reports = _reports(found)
    for report in reports:
        if not report.refusal:
            write_bytes(drafts / f"{report.failure.id}.md", f"# {report.title}\n\n{report.body}".encode())
        if report.failure.standing:
            cells = ", ".join(result.cell_id for result in report.failure.latest)
            _say(f"{report.failure.id}: {report.refusal or 'drafted'}: {cells}")
    summarise(summary, drafting.summary([report.failure for report in reports if report.failure.standing]))
    night = night or f"{dt.datetime.now(dt.UTC):%Y%m%d}"
    if file and name is not None:
        _file(name, reports, token=token, api=api, night=night, summary=summary)
    else:
        _foresee(name, reports, token=token, api=api, night=night)


def _reports(found: Store) -> list[Report]:
    """What is told of every failure."""
    made = []
    for failure in failures(found):
        head, _, body = drafting.draft(failure, questions.log_tail(found, failure.latest[0])).partition("\n")
        made.append(Report(failure=failure, title=head.removeprefix("# "), body=body.strip() + "\n"))
    return made


def _file(name: str, reports: Sequence[Report], *, token: str, api: str, night: str, summary: Path | None) -> None:
    """Bring our tracker up to date; exit status 3 where GitHub did not let it."""
    from reports.bugs import github, tracker  # here, because GitHub's client takes time that few commands need

    try:
        with github.opened(name, token=token, api=api) as there:
            done = tracker.sync(there, reports, night=night)
    except github.IssuesOff:
        _say(f"{name} has its issues switched off: nothing is filed")
        summarise(summary, "Issues are switched off in this repository: nothing is filed.\n")
        return
    for line in _told(done):
        _say(line)
    summarise(summary, "\n".join(["## Tracker", "", *(f"- {line}" for line in _told(done) or ["Nothing to do."]), ""]))
    for trouble in done.trouble:
        err.print(f"readiness: {trouble}", markup=False, highlight=False)
    if done.trouble:
        raise SystemExit(outcome.NOT_MEASURED)


def _foresee(name: str | None, reports: Sequence[Report], *, token: str, api: str, night: str) -> None:
    """Say what --file would do: in the tracker as it is, or in an empty one."""
    known: list[Issue] = []
    me = ""
    if name is not None:
        from reports.bugs import github  # as above

        with github.opened(name, token=token, api=api) as there:
            known, me = list(there.issues().values()), there.me
    found = tracking.plan(reports, known, night=night, me=me)
    for line in _told(Done(steps=found.steps, waiting=found.waiting, trouble=())):
        _say(f"would be {line}")


def _told(done: Done) -> list[str]:
    return [
        *map(tracking.sentence, done.steps),
        *(f"waiting for another night: {one.failure.id}" for one in done.waiting),
    ]


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False)
