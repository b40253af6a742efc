"""Everything a maintainer needs of one fault, made of evidence and fixed sentences. Pure; nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from matrix import bisection as bisecting
from matrix.bisection import Bisection, Trial
from matrix.cells import Record
from matrix.reproduction import Reproduction
from matrix.results import Result, Status
from reports import repeat, templating
from reports.bugs import neutral
from reports.bugs.failures import Failure
from reports.bugs.form import Form
from reports.bugs.tracking import Report
from reports.markdown import row

EXPECTED = {
    "loading": "The server becomes ready offline with every tensor of the checkpoint, answers, and is healthy then.",
    "correctness": "Logprobs, or greedily chosen tokens, as close to the float32 reference as the rounding of the "
    "model's own dtype explains.",
    "quantized": "Logprobs as close to those of these very weights, dense, as the kernel's own rounding explains.",
    "state": "The same tokens have the same logprobs however they were computed: whole, in chunks, from the cache.",
    "batch": "The same tokens have the same logprobs alone and beside other requests.",
    "context": "Logprobs right on both sides of every length at which the architecture computes otherwise.",
    "protocol": "Requests mean what the protocol says, and answers hold what the model wrote.",
    "throughput": "Every stream ends by itself and holds exactly the tokens that were asked for.",
}
"""What a PASS would have been, by probe."""

OFFICIAL = "official"

LINK = 6000
"""Characters of a pre-filled link; browsers and GitHub take some 8,000."""
FILLED = 1500
"""Characters of one field of it: longer ones are pasted from the draft."""


class Fault(Record, frozen=True, kw_only=True):
    """What a packet tells of, whatever found it."""

    name: str
    title: str
    engine: str
    version: str
    build: str
    build_note: str
    expected: str
    seen: str
    numbers: dict[str, float] = {}
    evidence: dict[str, str] = {}
    versions: dict[str, str] = {}
    where: tuple[str, ...] = ()
    """Lines: the cells that show it."""
    around: tuple[str, ...] = ()
    """What passes beside it, and what is known of its cause."""
    first_seen: str = ""
    command: str = ""
    """The engine's own, for a shell."""
    repeat: tuple[str, ...] = ()
    """Commands that measure it again with this project."""
    model: str = ""
    device: str = ""
    """Kind of device."""
    log: str = ""


class Packet(Record, frozen=True, kw_only=True):
    """What is filed in our own tracker, and what a person may take to the engine's."""

    fault: Fault
    program: str | None
    """The standalone repro; None where none could be made."""
    reproduction: Reproduction | None
    """The newest execution of that very program."""
    bisection: Bisection | None
    form: Form | None

    @property
    def held_back(self) -> str:
        """Why it is not filed: only what a program of its own has shown again is."""
        if self.program is None:
            return "no standalone repro of it could be made"
        if self.reproduction is None:
            return "its repro has not been executed yet"
        return "" if self.reproduction.outcome == "shown" else f"its repro {_ended(self.reproduction)}"

    @property
    def body(self) -> str:
        """The issue's Markdown; the title stands apart."""
        return _template("packet.md.j2").render(
            packet=self, fault=self.fault, official=self.fault.build == OFFICIAL, answer=self.answer
        )

    @property
    def answer(self) -> bisecting.Answer | None:
        """In which release it began; None where nobody has searched."""
        return bisecting.answer(self.bisection) if self.bisection is not None and self.bisection.trials else None

    @property
    def trials(self) -> list[Trial]:
        """Of its bisection, the newest release first."""
        if (found := self.bisection) is None:
            return []
        ordered = sorted(found.trials, key=lambda trial: found.versions.index(trial.version))
        return ordered if found.mended else ordered[::-1]

    @property
    def upstream(self) -> str | None:
        """The engine's own form, filled in, for a person to read and to submit; None where its form is not known."""
        if self.form is None:
            return None
        return _template("upstream.md.j2").render(
            packet=self, fault=self.fault, form=self.form, official=self.fault.build == OFFICIAL, answer=self.answer,
            content=self._contents(),
        )  # fmt: skip

    @property
    def link(self) -> str | None:
        """The engine's issue form with title and short fields filled in; nothing happens before a person submits it."""
        if self.form is None:
            return None
        given = {"template": self.form.template} if self.form.template else {}
        given["title"] = f"{self.form.prefix}{neutral.title(self.fault.title)}"
        contents = self._contents()
        for field in self.form.fields:
            text = "\n\n".join(contents[name] for name in field.content if contents.get(name))
            if field.id is not None and 0 < len(text) <= FILLED:
                longer = given | {field.id: text}
                given = longer if len(urlencode(longer)) <= LINK else given
        return f"https://github.com/{self.form.project}/issues/new?{urlencode(given)}"

    def _contents(self) -> dict[str, str]:
        """What goes into the fields of a form; empty where it is not known."""
        fault, ran = self.fault, self.reproduction
        shown = neutral.fenced(ran.output) if ran is not None else ""
        program = neutral.fenced(self.program, "python") if self.program else ""
        contents = {
            "description": f"{fault.expected}\n\nSeen instead:\n\n{neutral.fenced(fault.seen)}",
            "expected": fault.expected,
            "reproduction": "\n\n".join(part for part in (program, "It prints:" if shown else "", shown) if part),
            "environment": neutral.fenced(ran.environment_report) if ran and ran.environment_report else "",
            "version": f"{fault.engine} {fault.version}. {fault.build_note}".rstrip(". ") + ".",
            "system": "Linux",
            "device": fault.device.upper() if fault.device else "",
            "hardware": ran.machine if ran is not None else fault.versions.get("machine", ""),
            "model": fault.model,
            "first_bad": f"By release: {self.answer.sentence}." if self.answer is not None else "",
            "log": neutral.fenced(fault.log) if fault.log else "",
            "command": neutral.fenced(fault.command, "sh") if fault.command else "",
        }
        return {name: text for name, text in contents.items() if text}


def summary(reports: Mapping[str, Report]) -> str:
    """All failures that stand in a table, with what keeps some of them from being filed."""
    if not reports:
        return "## Failures\n\nNo engine fails unexpectedly.\n"
    lines = ["## Failures", "", row(["id", "state", "cells", "first seen"]), row(["---"] * 4)]
    for name, report in sorted(reports.items()):
        cells = ", ".join(neutral.code(result.cell_id) for result in report.failure.latest)
        lines.append(row([f"`{name}`", report.refusal or "drafted", cells, _day(report.failure.first_seen)]))
    return "\n".join([*lines, ""])


def listed(packets: Mapping[str, Packet]) -> str:
    """A page that lists packets, by the names of their folders."""
    return _template("findings.md.j2").render(packets=packets)


def _ended(ran: Reproduction) -> str:
    return "does not show it" if ran.outcome == "gone" else f"could not be tried: {_last_line(ran.output)}"


def _last_line(output: str) -> str:
    said = [line.strip() for line in output.splitlines() if line.strip()]
    return said[-1] if said else "it said nothing"


def of_failure(failure: Failure, log_tail: str) -> Fault:
    """Of a failure of the grid, told by the newest result of its first cell; `log_tail` is of that cell."""
    result = failure.latest[0]
    cell, verdict, provenance = result.cell, result.verdict, result.provenance
    status = verdict.status
    how = {Status.CRASH: "ends by itself", Status.TIMEOUT: "does not answer in time"}
    return Fault(
        name=failure.id,
        title=f"{cell.release.id}: {result.probe} {status.value} on {cell.model.architecture}",
        engine=cell.release.engine,
        version=cell.release.version,
        build=provenance.build,
        build_note=provenance.build_note,
        expected=EXPECTED.get(result.probe, "PASS of this probe."),
        seen=f"{how[status]}: {verdict.reason}" if status in how else verdict.reason,
        numbers=verdict.numbers,
        evidence=verdict.evidence,
        versions=repeat.versions(result),
        where=tuple(_line(one) for one in failure.latest),
        around=failure.neighbours,
        first_seen=f"{_day(failure.first_seen)} with {failure.first_seen.provenance.release_id}",
        command=repeat.engine_command(result),
        repeat=repeat.commands(result),
        model=f"{cell.model.id} ({cell.model.architecture})",
        device=cell.device.kind,
        log=log_tail,
    )


def _line(result: Result) -> str:
    return f"{result.cell_id}: {result.verdict.status.value} on {_day(result)}"


def _day(result: Result) -> str:
    return f"{result.provenance.started_at:%Y-%m-%d}"


def _template(name: str) -> templating.Template:
    environment = templating.environment(autoescape=False)
    filters: dict[str, Callable[..., str]] = {
        "fenced": neutral.fenced,
        "code": neutral.code,
        "title": neutral.title,
        "sized": _sized,
    }
    environment.filters |= filters
    return environment.get_template(name)


def _sized(value: float) -> str:
    return f"{value:.6g}"
