"""From failures to issues of our own tracker: `readiness bugs`. Nothing is ever sent to an engine's project."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from commands import reproducing
from commands.options import (
    API,
    ApiOption,
    NightOption,
    ResultsOption,
    SummaryOption,
    err,
    out,
    owner_name,
    refuse,
    summarise,
)
from matrix.reproduction import WANTED
from matrix.results import write_bytes, write_json
from reports import outcome, questions, searches, store
from reports.bugs import packet as packets
from reports.bugs import tracking
from reports.bugs.failures import Failure, failures
from reports.bugs.forms import forms
from reports.bugs.issue import Issue
from reports.bugs.packet import Packet
from reports.bugs.tracking import Done, Report
from reports.store import Store

app = typer.Typer()


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
            "--repo",
            metavar="OWNER/NAME",
            callback=owner_name,
            help="Our tracker; with --file the default is $GITHUB_REPOSITORY.",
        ),
    ] = None,
    api: ApiOption = API,
    repros: Annotated[
        Path, typer.Option(metavar="DIR", help="Repros that a person has written: ID.py of the failure's id.")
    ] = Path("repros"),
    night: NightOption = None,
    summary: SummaryOption = None,
) -> None:
    """Draft a report for every failure that two runs in a row have shown, and with --file keep our own tracker by them.

    An issue a failure: opened, at most three a night and engine; updated where it spreads; closed after 14 clean
    nights; opened again where it returns. The token is read from $GITHUB_TOKEN.

    Without --file nothing is sent; with --repo the tracker is read, and what would be done is told from what is there.
    """
    token = os.environ.get("GITHUB_TOKEN", "")
    name = repository or (owner_name(os.environ.get("GITHUB_REPOSITORY")) if file else None)
    if file and (name is None or not token):
        refuse("--file needs the repository of our tracker (--repo or $GITHUB_REPOSITORY) and $GITHUB_TOKEN")
    reports = []
    with store.opened(results) as found:
        for failure, packet in _packets(found, repros):
            if file and not all(one.cell.model.is_published for one in failure.latest):
                continue  # of a model that nobody outside may hear of
            reports.append(
                Report(failure=failure, title=packet.fault.title, body=packet.body, held_back=packet.held_back)
            )
            _write(drafts, reports[-1], packet)
    summarise(summary, packets.summary({one.failure.id: one for one in reports if one.failure.standing}))
    night = night or f"{dt.datetime.now(dt.UTC):%Y%m%d}"
    if file and name is not None:
        _file(name, reports, token=token, api=api, night=night, summary=summary)
    else:
        _foresee(name, reports, token=token, api=api, night=night)


def _packets(found: Store, repros: Path) -> Iterator[tuple[Failure, Packet]]:
    """Every failure, with all that is known of it."""
    searched, known_forms = searches.read(found.folder), forms()
    for problem in searched.problems:
        err.print(f"readiness: {problem}")
    for failure in failures(found):
        result, cells = failure.latest[0], [one.cell_id for one in failure.latest]
        program = reproducing.program_of(result, repros / f"{failure.id}.py")
        known = searched.reproductions.get(failure.id)
        yield (
            failure,
            Packet(
                fault=packets.of_failure(failure, questions.log_tail(found, result)),
                program=program,
                reproduction=known if known and program and reproducing.is_of(known, program, result) else None,
                bisection=searches.of_failure(searched.bisections, cells, failure.probe),
                form=known_forms.get(failure.engine),
            ),
        )


def _write(drafts: Path, report: Report, packet: Packet) -> None:
    """What a person reads of a failure that is confirmed, filed or not, and what is to be executed of it."""
    failure = report.failure
    wanted = None
    if report.refusal in ("", packet.held_back):
        write_bytes(drafts / f"{failure.id}.md", f"# {report.title}\n\n{report.body}".encode())
        for name, text in (("upstream.md", packet.upstream), ("repro.py", packet.program)):
            if text is not None:
                write_bytes(drafts / f"{failure.id}.{name}", text.encode())
        if packet.program is not None and packet.reproduction is None:
            wanted = reproducing.wanted(failure.id, packet.program, failure.latest[0])
    path = drafts / f"{failure.id}{WANTED}"
    if wanted is not None:
        write_json(path, wanted)
    else:
        path.unlink(missing_ok=True)
    if failure.standing:
        cells = ", ".join(result.cell_id for result in failure.latest)
        out.print(f"{failure.id}: {report.refusal or 'drafted'}: {cells}")


def _file(name: str, reports: Sequence[Report], *, token: str, api: str, night: str, summary: Path | None) -> None:
    """Bring our tracker up to date; exit status 3 where GitHub did not let it."""
    from reports.bugs import github, tracker  # here, because GitHub's client takes time that few commands need

    try:
        with github.opened(name, token=token, api=api) as there:
            done = tracker.sync(there, reports, night=night)
    except github.IssuesOff:
        out.print(f"{name} has its issues switched off: nothing is filed")
        summarise(summary, "Issues are switched off in this repository: nothing is filed.\n")
        return
    for line in _told(done):
        out.print(line)
    summarise(summary, "\n".join(["## Tracker", "", *(f"- {line}" for line in _told(done) or ["Nothing to do."]), ""]))
    for trouble in done.trouble:
        err.print(f"readiness: {trouble}")
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
        out.print(f"would be {line}")


def _told(done: Done) -> list[str]:
    return [
        *map(tracking.sentence, done.steps),
        *(f"waiting for another night: {one.failure.id}" for one in done.waiting),
    ]
